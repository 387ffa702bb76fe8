"""Conversion of pictures of any kind to a data set."""
