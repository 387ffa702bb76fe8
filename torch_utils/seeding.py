"""Stateless randomness: every draw is a function of (seed, purpose, position), so that resuming needs no RNG state.

Position is the number of images shown and, inside a step, the index of the micro-batch: never the rank, never the
world size, never what was drawn before.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def derive(seed: int, purpose: str, *position: int) -> np.random.SeedSequence:
    """The seed sequence of one draw. purpose: a fixed name ('Gmain', 'epoch'); position: any whole numbers >= 0."""
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *position])


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A Philox generator for one purpose and position."""
    return np.random.Generator(np.random.Philox(derive(seed, purpose, *position)))


def seed_torch(seed: int, purpose: str, *position: int) -> None:
    """Reseeds torch's global generators, on every device, for one purpose and position.

    Networks draw their noise from the global generators, so a plug-in's dropout or noise is covered without knowing.
    """
    torch.manual_seed(int(derive(seed, purpose, *position).generate_state(1, np.uint64)[0] >> np.uint64(1)))
