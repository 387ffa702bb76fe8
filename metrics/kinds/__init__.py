"""Kinds of metrics, one module each, and functions that several of them share."""
