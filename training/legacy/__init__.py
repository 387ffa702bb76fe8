"""Official network pickles, read as data."""
