"""From what a detector saw to the numbers of one metric: of all generated images, or of some of them.

Letters: N images, D feature width.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from metrics.extraction import Extraction, Moments, Need
from metrics.kinds.density_coverage import ball_shares
from metrics.kinds.features import FeatureStats
from metrics.kinds.frechet import frechet_distance
from metrics.kinds.inception_score import inception_score
from metrics.kinds.kid import kernel_distance
from metrics.kinds.memorization import Pairs, authentic_share, closest_pairs
from metrics.kinds.neighbors import Neighbourhood, about_mean
from metrics.kinds.precision_recall import manifold_shares
from metrics.spec import NUM_SPLITS, MetricSpec

BY_NEIGHBOURS = ('pr', 'dc', 'mem')


def real_need(spec: MetricSpec, num_reals: int) -> Need:
    """What a metric wants to know of `num_reals` real images."""
    count = spec.num_reals(num_reals)
    if spec.kind == 'fd':
        return Need(moments=frozenset({count}))
    return Need(features=count)


def fake_need(spec: MetricSpec, *, one_by_one: bool) -> Need:
    """What a metric wants to know of the generated images; one_by_one: parts of them will be measured too."""
    count = spec.num_fakes
    if spec.kind == 'is':
        return Need(probabilities=count)
    if spec.kind == 'fd':
        return Need(moments=frozenset({count}), features=count if one_by_one else 0)
    return Need(features=count)


class Measurement:
    """One metric of one generator; what depends on the reals alone is computed once.

    reals: None for the Inception score only. device: where features are compared; it must know float64. Results stand
    under the keys of the metric's jsonl line.
    """

    def __init__(
        self,
        spec: MetricSpec,
        reals: Extraction | None,
        num_reals: int,
        fakes: Extraction,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.spec = spec
        self._device = device
        self._reals = reals
        self._count = spec.num_reals(num_reals)
        self._fakes = fakes

    def whole(self, seed: int) -> dict[str, float]:
        """The metric over all its generated images. seed: of KID's subsets."""
        if self.spec.kind == 'fd':
            return self._frechet(self._fakes.moments(self.spec.num_fakes))
        return self.part(torch.arange(self.spec.num_fakes), seed)

    def part(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """The metric over the generated images at positions `chosen`, int64 [N], ascending."""
        name, kind = self.spec.name, self.spec.kind
        if kind == 'is':
            probabilities = self._fakes.probabilities(self.spec.num_fakes)[chosen]
            mean, std = inception_score(probabilities, num_splits=NUM_SPLITS)
            return {f'{name}_mean': mean, f'{name}_std': std}
        if kind == 'fd':
            stats = FeatureStats(self._fake_features.shape[1])
            stats.append(self._fake_features[chosen])
            return self._frechet(stats.mean_cov())
        if kind == 'kid':
            rng = np.random.default_rng(seed)
            return {name: kernel_distance(self._real_features, self._fake_features[chosen], rng)}
        reals, fake = self._centred
        if kind == 'mem':
            return {f'{name}_authenticity': authentic_share(reals, fake[chosen])}
        keys, shares = (
            (('precision', 'recall'), manifold_shares) if kind == 'pr' else (('density', 'coverage'), ball_shares)
        )
        return {f'{name}_{key}': value for key, value in zip(keys, shares(reals, fake[chosen]), strict=True)}

    def pairs(self) -> Pairs:
        """The generated images that look most like copies of real ones; of `mem` only."""
        assert self.spec.kind == 'mem'
        return closest_pairs(*self._centred)

    def _frechet(self, fake: Moments) -> dict[str, float]:
        assert self._reals is not None
        return {self.spec.name: frechet_distance(*self._reals.moments(self._count), *fake)}

    @functools.cached_property
    def _real_features(self) -> torch.Tensor:
        assert self._reals is not None
        return self._reals.features(self._count).to(self._device)  # [N, D]

    @functools.cached_property
    def _fake_features(self) -> torch.Tensor:
        return self._fakes.features(self.spec.num_fakes).to(self._device)  # [N, D]

    @functools.cached_property
    def _centred(self) -> tuple[Neighbourhood, torch.Tensor]:
        """The reals with their balls, and the fakes about the same mean [N, D]."""
        real, fake = about_mean(self._real_features, self._fake_features)
        return Neighbourhood(real, self.spec.neighbours), fake
