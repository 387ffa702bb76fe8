"""Data sets: reading, sampling, loading."""
