"""Spinning of OpenMP's threads, which compute for PyTorch on a CPU.

A thread that waits for the others spins before it sleeps: 300,000 rounds in GNU's OpenMP, unless the environment says
otherwise. Beside other busy processes it takes the cores from the threads that it waits for.
"""

from __future__ import annotations

import os
import sys

SPIN_COUNT = 1_000  # bench/spin.py measures it
VARIABLES = ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')


def limit_spinning() -> None:
    """Sets a spin count for this process and those that it starts, unless the user has set one.

    OpenMP reads it once, when PyTorch is imported. Afterwards this function does nothing.
    """
    if 'torch' not in sys.modules and not any(name in os.environ for name in VARIABLES):
        os.environ['GOMP_SPINCOUNT'] = str(SPIN_COUNT)


def spin_setting() -> str:
    """Returns the setting in force, such as 'GOMP_SPINCOUNT=1000', or 'default'."""
    return ' '.join(f'{name}={os.environ[name]}' for name in VARIABLES if name in os.environ) or 'default'
