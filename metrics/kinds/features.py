"""Mean and covariance of a stream of features, in float64.

Letters: N items in a batch, D feature width, B items of a block.
"""

from __future__ import annotations

import copy

import torch

# Items per matrix product, enough for the covariance to run at the speed of a GEMM. The borders of blocks depend on the
# position in the stream alone, so the result does not depend on the batch size, bit for bit.
BLOCK_ITEMS = 1024


class FeatureStats:
    """Mean and covariance of features that arrive in batches.

    Blocks and other statistics are merged about their own means (Chan, Golub and LeVeque 1979), so the order changes
    the result by at most 1e-12 and a large mean causes no cancellation. Products run on the device of the features; the
    statistics are float64 on the CPU.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._merged = 0  # items in the mean and the scatter; the others wait until their block is full
        self._mean = torch.zeros(dim, dtype=torch.float64)  # [D]
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)  # [D, D]
        self._waiting: list[torch.Tensor] = []
        self._num_waiting = 0

    @property
    def num_items(self) -> int:
        """Number of items."""
        return self._merged + self._num_waiting

    def append(self, features: torch.Tensor) -> None:
        """Adds features [N, D], of any float dtype and on any device."""
        assert features.shape[1:] == (self.dim,)
        if len(features):
            self._waiting.append(features.detach().clone())
            self._num_waiting += len(features)
        if self._num_waiting >= BLOCK_ITEMS:
            whole = self._num_waiting - self._num_waiting % BLOCK_ITEMS
            ready, left = torch.cat(self._waiting).split([whole, self._num_waiting - whole])
            for block in ready.split(BLOCK_ITEMS):
                self._merge_moments(*_moments(block))
            self._waiting, self._num_waiting = ([left] if len(left) else []), len(left)

    def merge(self, other: FeatureStats) -> None:
        """Adds all items of `other`. The result equals appending its features, in any order, to 1e-12."""
        assert other.dim == self.dim
        if other._merged:
            self._merge_moments(other._merged, other._mean, other._scatter)
        for batch in other._waiting:
            self.append(batch)

    def mean_cov(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns mean [D] and covariance [D, D], float64; the covariance is divided by N, as in the official FID.

        The call does not change the result of later calls, bit for bit; more items may be appended.
        """
        assert self.num_items > 0
        whole = copy.copy(self)
        if self._waiting:
            whole._mean, whole._scatter = self._mean.clone(), self._scatter.clone()
            whole._merge_moments(*_moments(torch.cat(self._waiting)))
        return whole._mean.clone(), whole._scatter / whole._merged

    def _merge_moments(self, num_items: int, mean: torch.Tensor, scatter: torch.Tensor) -> None:
        total = self._merged + num_items
        delta = mean - self._mean  # [D]
        self._scatter += scatter
        self._scatter.addr_(delta, delta, alpha=self._merged * num_items / total)
        self._mean += delta * (num_items / total)
        self._merged = total


def _moments(block: torch.Tensor) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Returns number, mean [D] and sum of squares about it [D, D] of a block [B, D], float64 on the CPU."""
    # Among the accelerators only CUDA has float64.
    values = (block if block.device.type == 'cuda' else block.cpu()).double()
    mean = values.mean(dim=0)
    centered = values - mean
    return len(values), mean.cpu(), (centered.T @ centered).cpu()
