"""Toolchain of the native operations: finding compilers, building, checking the CUDA sources."""
