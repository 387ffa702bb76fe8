"""Detectors: the networks whose features metrics compare."""
