"""Mean and covariance of features, streaming, in float64.

Letters: N items in a batch, D feature width.
"""

from __future__ import annotations

import torch


class FeatureStats:
    """Mean, covariance and, if asked for, the features themselves, of batches that come one after the other.

    Batches and other statistics are merged about their own means (Chan, Golub and LeVeque 1979), so neither the order
    nor the size of the batches shows beyond 1e-12 and nothing cancels where the mean is large. float64 on the CPU.
    """

    def __init__(self, dim: int, keep_features: bool = False) -> None:
        self.dim = dim
        self.keep_features = keep_features
        self.num_items = 0
        self._mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)
        self._features: list[torch.Tensor] = []

    def append(self, features: torch.Tensor) -> None:
        """Takes in features [N, D], of any float dtype and on any device."""
        assert features.shape[1:] == (self.dim,)
        if not len(features):
            return
        features = features.detach().cpu()
        values = features.double()  # [N, D] float64
        mean = values.mean(dim=0)
        centred = values - mean
        self._merge_moments(len(values), mean, centred.T @ centred)
        if self.keep_features:
            self._features.append(features.float())

    def merge(self, other: FeatureStats) -> None:
        """Takes in everything that `other` has seen, after what was seen here."""
        assert other.dim == self.dim
        assert other.keep_features >= self.keep_features
        if not other.num_items:
            return
        self._merge_moments(other.num_items, other._mean, other._scatter)
        if self.keep_features:
            self._features.extend(other._features)

    def mean_cov(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [D] and covariance [D, D], float64; the covariance divided by N as in the official FID, not N - 1."""
        assert self.num_items > 0
        return self._mean.clone(), self._scatter / self.num_items

    def features(self) -> torch.Tensor:
        """The features in the order of arrival, [num_items, D] float32."""
        assert self.keep_features
        assert self.num_items > 0
        self._features = [torch.cat(self._features)]
        return self._features[0]

    def _merge_moments(self, num_items: int, mean: torch.Tensor, scatter: torch.Tensor) -> None:
        total = self.num_items + num_items
        delta = mean - self._mean  # [D]
        self._scatter += scatter
        self._scatter += torch.outer(delta, delta) * (self.num_items * num_items / total)
        self._mean += delta * (num_items / total)
        self.num_items = total
