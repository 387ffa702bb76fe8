"""Defaults of environment variables that are read once, when PyTorch is imported.

- Spinning: a thread of OpenMP that waits for the others spins before it sleeps, 300,000 rounds in GNU's OpenMP. Beside
  other busy processes it takes the cores from the threads that it waits for. bench/spin.py measures the count.
- Blocks of GPU memory that grow: the sizes behind an augmentation differ from batch to batch, because it moves some of
  the images, and reflects as far as they move. PyTorch's allocator would keep a block for every size that it has met.
"""

from __future__ import annotations

import os
import sys

SPIN_COUNT = 5_000
SPINNING = ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')
GPU_MEMORY = ('PYTORCH_ALLOC_CONF', 'PYTORCH_CUDA_ALLOC_CONF')
# Names by which the user may choose, and the value of the first one if none is set.
DEFAULTS = {SPINNING: str(SPIN_COUNT), GPU_MEMORY: 'expandable_segments:True'}


def set_torch_defaults() -> None:
    """Sets the variables for this process and those that it starts, except those that the user has set.

    Once PyTorch is imported, this function does nothing.
    """
    if 'torch' in sys.modules:
        return
    for names, value in DEFAULTS.items():
        if not any(name in os.environ for name in names):
            os.environ[names[0]] = value


def spin_setting() -> str:
    """Returns the setting in force, such as 'GOMP_SPINCOUNT=1000', or 'default'."""
    return ' '.join(f'{name}={os.environ[name]}' for name in SPINNING if name in os.environ) or 'default'
