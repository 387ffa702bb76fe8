"""One pass of a detector over a stream of images, kept so that every prefix of it can be measured.

Letters: N items, D feature width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from metrics.detectors.table import Detector, Features
from metrics.kinds.features import FeatureStats
from metrics.streams.images import Images, checked
from metrics.streams.shares import Look

Progress = Callable[[str, int, int], None]  # what is being read, images done, images in all
Moments = tuple[torch.Tensor, torch.Tensor]  # mean [D] and covariance [D, D], float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a group of metrics wants to know of one stream.

    moments: the prefix lengths whose mean and covariance are wanted. features, probabilities: how many items, from the
    first on, are to be kept one by one.
    """

    moments: frozenset[int] = frozenset()
    features: int = 0
    probabilities: int = 0

    @property
    def num_items(self) -> int:
        """Items of the stream that have to be seen."""
        return max(self.moments | {self.features, self.probabilities})

    def union(self, other: Need) -> Need:
        """The need for both."""
        return Need(
            moments=self.moments | other.moments,
            features=max(self.features, other.features),
            probabilities=max(self.probabilities, other.probabilities),
        )

    def without(self, held: Need) -> Need:
        """What remains to be seen for this need where the other one is served."""
        return Need(
            moments=self.moments - held.moments,
            features=self.features if self.features > held.features else 0,
            probabilities=self.probabilities if self.probabilities > held.probabilities else 0,
        )


class Extraction:
    """What a detector saw in the first items of a stream.

    What it tells of a prefix is a function of that prefix alone: neither the batches nor what else is wanted shows in
    a single bit.
    """

    def __init__(self, dim: int, need: Need) -> None:
        self.need = need
        self.num_items = 0
        self._running = FeatureStats(dim)
        self._moments: dict[int, Moments] = {}
        self._features: list[torch.Tensor] = []
        self._probabilities: list[torch.Tensor] = []

    def append(self, features: Features) -> None:
        """Takes in a batch; what goes beyond the need is left."""
        first, last = self.num_items, min(self.num_items + len(features.pooled), self.need.num_items)
        if self.need.features > first:
            self._features.append(_kept(features.pooled[: self.need.features - first]))
        if self.need.probabilities > first:
            assert features.probabilities is not None
            self._probabilities.append(_kept(features.probabilities[: self.need.probabilities - first]))
        cuts = sorted(count for count in self.need.moments if first < count <= last)
        for cut in cuts:
            self._running.append(features.pooled[self._running.num_items - first : cut - first])
            self._moments[cut] = self._running.mean_cov()
        if self.need.moments and last < max(self.need.moments):
            self._running.append(features.pooled[self._running.num_items - first :])
        self.num_items = last

    @property
    def held(self) -> Need:
        """What can be told."""
        return Need(
            moments=frozenset(self._moments),
            features=sum(map(len, self._features)),
            probabilities=sum(map(len, self._probabilities)),
        )

    def absorb(self, other: Extraction) -> None:
        """Takes over what another pass over the same stream told."""
        self._moments |= other._moments
        if other.held.features > self.held.features:
            self._features = other._features
        if other.held.probabilities > self.held.probabilities:
            self._probabilities = other._probabilities

    def put_moments(self, count: int, moments: Moments) -> None:
        """Takes over the moments of the first `count` items."""
        self._moments[count] = moments

    def put_features(self, features: torch.Tensor) -> None:
        """Takes over the features [N, D] of the first N items."""
        self._features = [features]

    def moments(self, count: int) -> Moments:
        """Mean [D] and covariance [D, D] of the first `count` items, float64."""
        return self._moments[count]

    def features(self, count: int) -> torch.Tensor:
        """Features of the first `count` items, [count, D] float32 on the CPU."""
        assert count <= self.held.features
        self._features = [torch.cat(self._features)]
        return self._features[0][:count]

    def probabilities(self, count: int) -> torch.Tensor:
        """Class probabilities of the first `count` items, [count, K] float32 on the CPU."""
        self._probabilities = [torch.cat(self._probabilities)]
        return self._probabilities[0][:count]


def _kept(rows: torch.Tensor) -> torch.Tensor:
    """A copy of rows, float32 on the CPU, that does not hold on to what they are a part of."""
    return rows.to('cpu', torch.float32, copy=True)


def looking(images: Images, detector: Detector, source: str) -> Look:
    """What a detector sees in parts of a stream: pooled features and class probabilities side by side, [N, D + K].

    source: what a DataError calls the images.
    """

    @torch.no_grad()
    def look(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for batch in checked(images(parts), parts, source):
            pooled, probabilities = detector(batch)
            yield pooled if probabilities is None else torch.cat([pooled, probabilities], dim=1)

    return look
