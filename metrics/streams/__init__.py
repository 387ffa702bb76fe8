"""Streams of images, and their division among processes."""
