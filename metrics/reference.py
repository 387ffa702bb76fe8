"""The real images that generators are compared with, and what detectors saw in them.

Letters: N images, D feature width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from metrics.cache import Arrays, Cache, Fields
from metrics.detectors.table import Detector
from metrics.extraction import Extraction, Need
from metrics.streams.images import Images

# Of what entries of the cache say: a change of the numbers that `Extraction` makes is a new version.
ESTIMATORS = {'moments': 'float64 v1', 'features': 'float32 v1'}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A set of real images.

    images: their stream, in data-set order. num_images: in all. content: a digest of everything that decides the
    pixels and their order; asked for only if there is a cache. name: for records.
    """

    images: Images
    num_images: int
    content: Callable[[], str] | None = None
    name: str = ''

    @functools.cached_property
    def digest(self) -> str | None:
        """What `content` said first; None without it."""
        return None if self.content is None else self.content()


class SeenReference:
    """A reference through one detector, kept in memory and in the cache.

    source: what to call the images in messages. Images are read only for what neither memory nor cache holds.
    """

    def __init__(self, reference: Reference, detector: Detector, cache: Cache | None, source: str) -> None:
        self.reference = reference
        self._detector = detector
        self._cache = cache
        self._source = source
        self._seen = Extraction(detector.feature_dim, Need())

    def extraction(self, need: Need, extract: Callable[[Need], Extraction]) -> Extraction:
        """What the need asks for, and perhaps more. extract: passes over the images for what is missing."""
        self._load(need.without(self._seen.held))
        missing = need.without(self._seen.held)
        if missing.num_items:
            self._seen.absorb(extract(missing))
            self._store(missing)
        return self._seen

    def _load(self, need: Need) -> None:
        for count in sorted(need.moments):
            if found := self._entry('moments', count):
                self._seen.put_moments(count, (torch.from_numpy(found['mean']), torch.from_numpy(found['cov'])))
        if need.features and (found := self._entry('features', need.features)):
            self._seen.put_features(torch.from_numpy(found['features']))

    def _store(self, new: Need) -> None:
        if self._cache is None or self.reference.content is None:
            return
        # What was seen belongs to the digest only if the images were the same from before the pass until after it.
        if self.reference.content() != self.reference.digest:
            self._cache.warn(f'{self._source}: the data set changed while it was read; what was seen is not kept')
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
        return self._cache.load(self._fields(what, count))

    def _fields(self, what: str, count: int) -> Fields:
        """Everything that changes the numbers."""
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
