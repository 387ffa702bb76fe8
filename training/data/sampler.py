"""The order in which a run sees its data set: one global sequence, a pure function of the position in it.

Position p (images shown since the start, `nimg`) lies in epoch p // n; every epoch is a fresh permutation of the data
set. Neither workers nor ranks nor the point of resuming enter, so the order survives a change of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dnnlib.errors import ConfigError
from torch_utils.seeding import derive


class EpochSampler:
    """Index of the image at every position of the sequence.

    num_items: images in one epoch. seed: at least 0.
    StyleGAN2-ADA's sampler shuffles in a sliding window and needs replaying; here each epoch is exact and any position
    is reached at once. The two orders differ.
    """

    def __init__(self, num_items: int, seed: int) -> None:
        assert num_items >= 1
        if seed < 0:
            raise ConfigError(f'--seed={seed}: must not be negative')
        self.num_items = num_items
        self.seed = seed
        self._recent: dict[int, np.ndarray] = {}  # permutations of the last two epochs asked for

    def index(self, position: int) -> int:
        """The image at one position."""
        return int(self.indices(position, 1)[0])

    def indices(self, start: int, count: int) -> np.ndarray:
        """The images at positions start ... start + count - 1, int64 [count]."""
        assert start >= 0
        pieces = [np.empty([0], dtype=np.int64)]
        position, end = start, start + count
        while position < end:
            epoch, offset = divmod(position, self.num_items)
            pieces.append(self._permutation(epoch)[offset : offset + end - position])
            position += len(pieces[-1])
        return np.concatenate(pieces)

    def batch_indices(self, nimg: int, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """What `rank` of `world` loads of the global batch that begins at `nimg`: int64 [batch_size // world].

        Ranks hold consecutive slices: joined in the order of ranks they are the batch, whatever `world` is.
        """
        if batch_size % world:
            raise ConfigError(f'--batch={batch_size}: must be a multiple of the number of ranks, {world}')
        per_rank = batch_size // world
        return self.indices(nimg + rank * per_rank, per_rank)

    def batches(self, start_nimg: int, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[np.ndarray]:
        """The batches of one rank from `start_nimg` on, for ever, each as `batch_indices` has it."""
        nimg = start_nimg
        while True:
            yield self.batch_indices(nimg, batch_size, rank, world)
            nimg += batch_size

    def _permutation(self, epoch: int) -> np.ndarray:
        """The order of one epoch, int64 [num_items].

        Sorting raw Philox words, because NumPy promises the bits of its bit generators for ever, but not the
        algorithm of Generator.permutation.
        """
        if epoch not in self._recent:
            bits = np.random.Philox(derive(self.seed, 'data order', epoch))
            while len(self._recent) >= 2:
                self._recent.pop(next(iter(self._recent)))
            self._recent[epoch] = np.argsort(bits.random_raw(self.num_items), kind='stable')
        return self._recent[epoch]
