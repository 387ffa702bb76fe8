"""Pages in HTML: the parts that any report is made of, and the report of a run."""
