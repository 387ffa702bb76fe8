"""Losses and regularization terms."""
