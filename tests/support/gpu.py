"""Checks that need a GPU."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def no_waits() -> Iterator[None]:
    """Raises RuntimeError inside the block wherever the host waits for the GPU."""
    try:
        with warnings.catch_warnings():  # PyTorch warns once per process that the mode is a prototype, after setting it
            warnings.simplefilter('ignore')
            torch.cuda.set_sync_debug_mode('error')
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')
