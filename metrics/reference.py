"""Real images that generators are compared with, and the detectors' output for them.

Letters: N images, D feature width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from metrics.cache import Arrays, Cache, Fields
from metrics.detectors.interface import Detector
from metrics.extraction import Extraction, Requirements
from metrics.measurement import Classes
from metrics.streams.images import ImageStream

# A field of the cache's entries: whatever changes the numbers of `Extraction` needs a new version here.
ESTIMATORS = {'moments': 'float64 v1', 'features': 'float32 v1'}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A set of real images.

    Attributes:
        images: Their stream, in data-set order.
        num_images: Their total number.
        content: Returns a digest of everything that decides the pixels and their order; called only with a cache.
        name: Name in records.
        classes: Returns the classes of the first images; None if they have none.
    """

    images: ImageStream
    num_images: int
    content: Callable[[], str] | None = None
    name: str = ''
    classes: Classes | None = None

    @functools.cached_property
    def digest(self) -> str | None:
        """The first result of `content`; None without it."""
        return None if self.content is None else self.content()


class SeenReference:
    """The output of one detector for a reference, kept in memory and in the cache.

    Images are read only for data that neither memory nor cache holds.

    Args:
        reference: The real images.
        detector: The detector.
        cache: The cache, None for none.
        source: Name of the images in messages.
    """

    def __init__(self, reference: Reference, detector: Detector, cache: Cache | None, source: str) -> None:
        self.reference = reference
        self._detector = detector
        self._cache = cache
        self._source = source
        self._seen = Extraction(detector.feature_dim, Requirements())

    def extraction(self, required: Requirements, extract: Callable[[Requirements], Extraction]) -> Extraction:
        """Returns the required data, possibly with more. `extract` makes a pass over the images for missing data."""
        self._load(required.without(self._seen.held))
        missing = required.without(self._seen.held)
        if missing.num_items:
            self._seen.absorb(extract(missing))
            self._store(missing)
        return self._seen

    def _load(self, required: Requirements) -> None:
        for count in sorted(required.moments):
            if found := self._entry('moments', count):
                self._seen.put_moments(count, (torch.from_numpy(found['mean']), torch.from_numpy(found['cov'])))
        if required.features and (found := self._entry('features', required.features)):
            self._seen.put_features(torch.from_numpy(found['features']))

    def _store(self, new: Requirements) -> None:
        if self._cache is None or self.reference.content is None:
            return
        # The features belong to the digest only if the images were the same before and after the pass.
        if self.reference.content() != self.reference.digest:
            self._cache.warn(f'{self._source}: the data set changed while it was read; its features are not kept')
            return
        for count in sorted(new.moments):
            mean, cov = self._seen.moments(count)
            self._cache.store(self._fields('moments', count), {'mean': mean.numpy(), 'cov': cov.numpy()})
        if new.features:
            features = self._seen.features(new.features)
            self._cache.store(self._fields('features', new.features), {'features': features.numpy()})

    def _entry(self, what: str, count: int) -> Arrays | None:
        if self._cache is None or self.reference.digest is None:
            return None
        found = self._cache.load(self._fields(what, count))
        if found is not None and not all(np.isfinite(array).all() for array in found.values()):
            self._cache.warn(f'{self._source}: the cache holds {what} that are not finite; they are computed again')
            return None
        return found

    def _fields(self, what: str, count: int) -> Fields:
        """Returns everything that changes the numbers: the key of an entry."""
        assert self.reference.digest is not None
        return {
            'what': what,
            'estimator': ESTIMATORS[what],
            'content': self.reference.digest,
            'num_items': count,
            'detector': self._detector.name,
            'detector_digest': self._detector.digest,
            'preprocessing': self._detector.preprocessing,
        }
