"""Perceptual path length (Karras et al. 2019, arXiv:1812.04948, Sec. 4.1), with StyleGAN2-ADA's definitions.

Letters: N pairs.
"""

from __future__ import annotations

import numpy as np
import torch

from metrics.registry import Metric, register_metric
from metrics.streams.paths import EPSILON


def path_length(distances: torch.Tensor) -> float:
    """Returns the mean of d(a, b) / EPSILON² over distances [N] between their 1st and 99th percentiles, inclusive."""
    values = distances.double().numpy() / EPSILON**2
    # The percentiles are members of the set, the one below and the one above: no interpolation.
    low, high = np.percentile(values, 1, method='lower'), np.percentile(values, 99, method='higher')
    return float(values[(low <= values) & (values <= high)].mean())


@register_metric(
    'ppl',
    official='ppl',
    stream='paths',
    uses_reals=False,
    min_images=2,
    min_images_reason='one pair has no percentiles',
    lower_is_better=True,
)
class PerceptualPathLength(Metric):
    """The metric `ppl`: the perceptual path length."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the path length over the pairs at positions `chosen`."""
        return {'': path_length(self.distances[chosen])}
