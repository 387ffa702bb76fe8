"""Floor 2: what a run holds, how it is built and how it moves."""
