"""One pass of a detector over a stream of images, kept so that every prefix of it can be measured.

Letters: N items, D feature width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from metrics.detectors import Detector, Features
from metrics.features import FeatureStats
from metrics.images import rebatch

Images = Iterable[torch.Tensor | np.ndarray]  # batches of uint8 [N, C, H, W]
Progress = Callable[[str, int, int], None]  # what is being read, images done, images in all


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What a group of metrics wants to know of one stream.

    counts: prefix lengths, ascending, without repeats. features, probabilities: whether to keep them item by item.
    """

    counts: tuple[int, ...]
    features: bool = False
    probabilities: bool = False

    def covers(self, other: Need) -> bool:
        """Whether whatever serves this need serves the other one too."""
        return set(other.counts) <= set(self.counts) and (
            self.features >= other.features and self.probabilities >= other.probabilities
        )

    def union(self, other: Need) -> Need:
        """The need for both."""
        return Need(
            counts=tuple(sorted({*self.counts, *other.counts})),
            features=self.features or other.features,
            probabilities=self.probabilities or other.probabilities,
        )


class Extraction:
    """What a detector saw in the first `need.counts[-1]` images of a stream.

    Statistics are kept in one segment between each count and the next, so that a prefix is a merge of segments and
    the images pass once whatever the number of metrics.
    """

    def __init__(self, need: Need, dim: int) -> None:
        self.need = need
        self.num_items = 0
        self._segments = [FeatureStats(dim, need.features) for _ in need.counts]
        self._probabilities: list[torch.Tensor] = []

    def append(self, features: Features) -> None:
        """Takes in a batch, cut where it crosses a count."""
        if self.need.probabilities:
            assert features.probabilities is not None
            self._probabilities.append(features.probabilities.cpu())
        start = 0
        for segment, count in zip(self._segments, self.need.counts, strict=True):
            end = min(len(features.pooled), start + max(0, count - self.num_items))
            segment.append(features.pooled[start:end])
            self.num_items += end - start
            start = end
        assert start == len(features.pooled), 'more images than the largest count'

    def stats(self, count: int) -> FeatureStats:
        """Statistics of the first `count` items; one of `need.counts`."""
        total = FeatureStats(self._segments[0].dim)
        for segment in self._prefix(count):
            total.merge(segment)
        return total

    def features(self, count: int) -> torch.Tensor:
        """Features of the first `count` items, one of `need.counts`, [count, D] float32."""
        return torch.cat([segment.features() for segment in self._prefix(count)])

    def probabilities(self, count: int) -> torch.Tensor:
        """Class probabilities of the first `count` items, [count, K] float32."""
        return torch.cat(self._probabilities)[:count]

    def _prefix(self, count: int) -> list[FeatureStats]:
        return self._segments[: self.need.counts.index(count) + 1]


def extract(
    images: Images, detector: Detector, need: Need, *, batch_size: int, source: str, progress: Progress | None
) -> Extraction:
    """Runs the detector over as many images as are needed; `source` is what a DataError and the progress call them."""
    extraction = Extraction(need, detector.feature_dim)
    num_images = need.counts[-1]
    for batch in rebatch(images, batch_size=batch_size, num_images=num_images, source=source):
        extraction.append(detector(batch))
        if progress is not None:
            progress(source, extraction.num_items, num_images)
    return extraction
