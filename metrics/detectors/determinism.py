"""One arithmetic for feature networks: settings that a run chose for speed must not change a metric."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def deterministic_float32() -> Iterator[None]:
    """Makes float32 convolutions and products IEEE float32 (no TF32, no bfloat16) and repeatable within a block."""
    backends: Any = torch.backends  # torch's annotations lack the precision per operation
    products = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    precisions = [product.fp32_precision for product in products]
    benchmark, deterministic = backends.cudnn.benchmark, backends.cudnn.deterministic
    try:
        for product in products:
            product.fp32_precision = 'ieee'
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        yield
    finally:
        for product, precision in zip(products, precisions, strict=True):
            product.fp32_precision = precision
        backends.cudnn.benchmark, backends.cudnn.deterministic = benchmark, deterministic
