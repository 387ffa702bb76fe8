"""Compilers: finding them, building the native operations, checking the CUDA sources."""
