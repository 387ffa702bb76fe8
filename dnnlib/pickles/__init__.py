"""Pickle files read as data: nothing in them is executed."""
