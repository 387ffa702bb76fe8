"""The order in which a run sees its data set: one global sequence, a pure function of the position.

Position p (number of images shown since the start, `nimg`) lies in epoch p // n; every epoch is a fresh permutation of
the data set. Workers, ranks and the point of resuming have no influence, so the order survives a change of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dnnlib.errors import ConfigError
from torch_utils.seeding import derive


class EpochSampler:
    """The index of the image at every position of the sequence.

    StyleGAN2-ADA's sampler shuffles in a sliding window and must be replayed to reach a position. Here each epoch is an
    exact permutation, and every position is reached directly. The two orders differ.
    """

    def __init__(self, num_items: int, seed: int) -> None:
        """Takes the number of images in an epoch, and a seed of at least 0."""
        assert num_items >= 1
        if seed < 0:
            raise ConfigError(f'--seed={seed}: must not be negative')
        self.num_items = num_items
        self.seed = seed
        self._recent: dict[int, np.ndarray] = {}  # permutations of the last two epochs in use

    def index(self, position: int) -> int:
        """Returns the image at one position."""
        return int(self.indices(position, 1)[0])

    def indices(self, start: int, count: int) -> np.ndarray:
        """Returns the images at positions start ... start + count - 1, int64 [count]."""
        assert start >= 0
        pieces = [np.empty([0], dtype=np.int64)]
        position, end = start, start + count
        while position < end:
            epoch, offset = divmod(position, self.num_items)
            pieces.append(self._permutation(epoch)[offset : offset + end - position])
            position += len(pieces[-1])
        return np.concatenate(pieces)

    def batch_indices(self, nimg: int, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """Returns the images of one rank in one global batch.

        Ranks hold consecutive slices: concatenated in the order of ranks they are the batch, for any `world`.

        Args:
            nimg: Position at which the batch begins.
            batch_size: Number of images in the global batch.
            rank: Rank of the process.
            world: Number of ranks.

        Returns:
            Indices, int64 [batch_size // world].
        """
        if batch_size % world:
            raise ConfigError(f'--batch={batch_size}: must be a multiple of the number of ranks, {world}')
        per_rank = batch_size // world
        return self.indices(nimg + rank * per_rank, per_rank)

    def batches(self, start_nimg: int, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[np.ndarray]:
        """Yields the batches of one rank, endlessly.

        Args:
            start_nimg: Position at which the first batch begins.
            batch_size: Number of images in the global batch.
            rank: Rank of the process.
            world: Number of ranks.
        """
        nimg = start_nimg
        while True:
            yield self.batch_indices(nimg, batch_size, rank, world)
            nimg += batch_size

    def _permutation(self, epoch: int) -> np.ndarray:
        """Returns the order of one epoch, int64 [num_items].

        It sorts raw Philox words: NumPy guarantees the bits of its bit generators in all versions, but not the
        algorithm of Generator.permutation.
        """
        if epoch not in self._recent:
            bits = np.random.Philox(derive(self.seed, 'data order', epoch))
            while len(self._recent) >= 2:
                self._recent.pop(next(iter(self._recent)))
            self._recent[epoch] = np.argsort(bits.random_raw(self.num_items), kind='stable')
        return self._recent[epoch]
