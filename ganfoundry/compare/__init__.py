"""Comparison of generators on one data set: training, statistics over seeds, and a report."""
