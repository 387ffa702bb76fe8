"""Stateless randomness: every draw is a function of (seed, purpose, position), so resuming needs no RNG state.

The position is the number of images shown and, inside a step, the index of the micro-batch. It never depends on the
rank, the world size, or earlier draws.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def derive(seed: int, purpose: str, *position: int) -> np.random.SeedSequence:
    """Returns the seed sequence of one draw.

    Args:
        seed: Seed of the run.
        purpose: Fixed name of the draw ('Gmain', 'epoch').
        *position: Whole numbers of at least 0.
    """
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *position])


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Returns a Philox generator for one purpose and position; arguments as in `derive`."""
    return np.random.Generator(np.random.Philox(derive(seed, purpose, *position)))


def seed_torch(seed: int, purpose: str, *position: int) -> None:
    """Reseeds torch's global generators, on every device, for one purpose and position; arguments as in `derive`.

    Networks draw their noise from the global generators, so this covers dropout and noise of plug-ins as well.
    """
    torch.manual_seed(int(derive(seed, purpose, *position).generate_state(1, np.uint64)[0] >> np.uint64(1)))
