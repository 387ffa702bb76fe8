"""One pass of a detector over a stream of images, kept so that every prefix of it can be measured.

Letters: N items, D feature width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from metrics.detectors.interface import Detector, Features
from metrics.kinds.features import FeatureStats
from metrics.streams.images import ImageStream, checked
from metrics.streams.shares import Observer

ProgressCallback = Callable[[str, int, int], None]  # (source, images done, images in total)
Moments = tuple[torch.Tensor, torch.Tensor]  # mean [D] and covariance [D, D], float64


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """Data of one stream that a group of metrics needs.

    Attributes:
        moments: Prefix lengths whose mean and covariance are needed.
        features: Number of items, from the first on, whose features are kept one by one.
        probabilities: Number of items, from the first on, whose class probabilities are kept one by one.
    """

    moments: frozenset[int] = frozenset()
    features: int = 0
    probabilities: int = 0

    @property
    def num_items(self) -> int:
        """Number of items of the stream that have to be read."""
        return max(self.moments | {self.features, self.probabilities})

    def union(self, other: Requirements) -> Requirements:
        """Returns the requirements for both."""
        return Requirements(
            moments=self.moments | other.moments,
            features=max(self.features, other.features),
            probabilities=max(self.probabilities, other.probabilities),
        )

    def without(self, held: Requirements) -> Requirements:
        """Returns the part of the requirements that `held` does not satisfy."""
        return Requirements(
            moments=self.moments - held.moments,
            features=self.features if self.features > held.features else 0,
            probabilities=self.probabilities if self.probabilities > held.probabilities else 0,
        )


def requirements(
    needs: Literal['features', 'moments', 'probabilities'], count: int, *, one_by_one: bool = False
) -> Requirements:
    """Returns the requirements of one metric.

    Args:
        needs: As the kind of metric is registered.
        count: Number of items.
        one_by_one: Subsets of the items will be measured too.
    """
    if needs == 'moments':
        return Requirements(moments=frozenset({count}), features=count if one_by_one else 0)
    return Requirements(features=count) if needs == 'features' else Requirements(probabilities=count)


class Extraction:
    """Output of a detector for the first items of a stream.

    Its statistics of a prefix are a function of that prefix alone: they do not depend on the batch size or on other
    requirements, bit for bit.
    """

    def __init__(self, dim: int, required: Requirements) -> None:
        self.required = required
        self.num_items = 0
        self._running = FeatureStats(dim)
        self._moments: dict[int, Moments] = {}
        self._features: list[torch.Tensor] = []
        self._probabilities: list[torch.Tensor] = []

    def append(self, features: Features) -> None:
        """Adds a batch, up to the number of required items."""
        first, last = self.num_items, min(self.num_items + len(features.pooled), self.required.num_items)
        if self.required.features > first:
            self._features.append(_kept(features.pooled[: self.required.features - first]))
        if self.required.probabilities > first:
            assert features.probabilities is not None
            self._probabilities.append(_kept(features.probabilities[: self.required.probabilities - first]))
        cuts = sorted(count for count in self.required.moments if first < count <= last)
        for cut in cuts:
            self._running.append(features.pooled[self._running.num_items - first : cut - first])
            self._moments[cut] = self._running.mean_cov()
        if self.required.moments and last < max(self.required.moments):
            self._running.append(features.pooled[self._running.num_items - first :])
        self.num_items = last

    @property
    def held(self) -> Requirements:
        """Statistics that are available."""
        return Requirements(
            moments=frozenset(self._moments),
            features=sum(map(len, self._features)),
            probabilities=sum(map(len, self._probabilities)),
        )

    def absorb(self, other: Extraction) -> None:
        """Adds the statistics of another pass over the same stream."""
        self._moments |= other._moments
        if other.held.features > self.held.features:
            self._features = other._features
        if other.held.probabilities > self.held.probabilities:
            self._probabilities = other._probabilities

    def put_moments(self, count: int, moments: Moments) -> None:
        """Stores the moments of the first `count` items."""
        self._moments[count] = moments

    def put_features(self, features: torch.Tensor) -> None:
        """Stores the features [N, D] of the first N items."""
        self._features = [features]

    def moments(self, count: int) -> Moments:
        """Returns mean [D] and covariance [D, D] of the first `count` items, float64 on the CPU."""
        return self._moments[count]

    def features(self, count: int) -> torch.Tensor:
        """Returns the features of the first `count` items, [count, D] float32 on the CPU."""
        assert count <= self.held.features
        self._features = [torch.cat(self._features)]
        return self._features[0][:count]

    def probabilities(self, count: int) -> torch.Tensor:
        """Returns the class probabilities of the first `count` items, [count, K] float32 on the CPU."""
        self._probabilities = [torch.cat(self._probabilities)]
        return self._probabilities[0][:count]


def check_probabilities(probabilities: torch.Tensor, name: str) -> None:
    """Raises ValueError that names the detector unless each row [N, K] is a distribution over the classes."""
    sums = probabilities.double().sum(dim=1)  # [N]; NaN is reported by `finite.finite_rows`, with the image
    if bool((probabilities < 0).any()) or bool(((sums - 1).abs() > 1e-2).any()):
        raise ValueError(f"the detector '{name}' returned probabilities that are negative or do not sum to 1")


def _kept(rows: torch.Tensor) -> torch.Tensor:
    """Returns a copy of rows, float32 on the CPU, which does not keep the whole batch in memory."""
    return rows.to('cpu', torch.float32, copy=True)


def image_observer(images: ImageStream, detector: Detector, source: str) -> Observer:
    """Makes the observer of a stream of images.

    Args:
        images: The stream.
        detector: The detector.
        source: Name of the stream in error messages.

    Returns:
        Function from parts to pooled features and class probabilities side by side, [N, D + K] for each part.
    """

    @torch.no_grad()
    def observe(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for batch in checked(images(parts), parts, source):
            pooled, probabilities = detector(batch)
            if (found := list(pooled.shape)) != (expected := [len(batch), detector.feature_dim]):
                raise ValueError(f"the detector '{detector.name}' returned features {found} in place of {expected}")
            if probabilities is None:
                yield pooled
                continue
            check_probabilities(probabilities, detector.name)
            yield torch.cat([pooled, probabilities], dim=1)

    return observe
