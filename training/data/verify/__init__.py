"""Verification of a data set before training."""
