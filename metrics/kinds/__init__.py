"""One module per metric, and what several of them share."""
