"""Blocks of GPU memory that grow, chosen before PyTorch is imported.

The sizes behind an augmentation differ from batch to batch: it moves some of the images, and reflects as far as they
move. PyTorch's allocator would keep a block for every size that it has met.
"""

from __future__ import annotations

import os
import sys

VARIABLES = ('PYTORCH_ALLOC_CONF', 'PYTORCH_CUDA_ALLOC_CONF')


def grow_blocks() -> None:
    """Lets blocks grow in this process and those that it starts, unless the user has set the allocator.

    PyTorch reads the variable once. Where it is imported already this function does nothing.
    """
    if 'torch' not in sys.modules and not any(name in os.environ for name in VARIABLES):
        os.environ['PYTORCH_ALLOC_CONF'] = 'expandable_segments:True'
