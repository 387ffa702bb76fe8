"""Projection: the latents with which a trained generator draws a given image."""
