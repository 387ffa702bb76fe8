"""Optimizers, averages, reductions, and the guards on them."""
