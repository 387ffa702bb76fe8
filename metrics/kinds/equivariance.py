"""Equivariance to translation and rotation (Karras et al. 2021, arXiv:2106.12423, Sec. 3.3 and appendix E).

Signal-to-noise ratios in dB between the images of a moved input and moved images, over all pixels of all images. They
need a generator that takes a transform of its input. Letters: N images.
"""

from __future__ import annotations

from typing import Any

import torch

from dnnlib.errors import DataError
from metrics.equivariance import psnr
from metrics.registry import Metric, register_metric

LARGEST = 400.0  # dB, in place of infinity for images without any error: their float64 sums cannot resolve more
SHARED: dict[str, Any] = {'stream': 'moves', 'uses_reals': False, 'lower_is_better': False}


class Equivariance(Metric):
    """Ratio of the squared range of an image to the mean squared error."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the ratio over the images at positions `chosen`. DataError if no pixel of a moved image is known."""
        squares, weights = self.distances[chosen].sum(dim=0).tolist()
        if weights == 0:
            raise DataError('the images are too small: no pixel of a moved one is known')
        return {'': min(psnr(squares, weights), LARGEST)}


@register_metric('eqtint', pattern='eqt50k_int', motion='whole', **SHARED)
class WholePixels(Equivariance):
    """The metric `eqt50k_int`, EQ-T: translation by whole pixels."""


@register_metric('eqtfrac', pattern='eqt50k_frac', motion='part', **SHARED)
class PartsOfPixels(Equivariance):
    """The metric `eqt50k_frac`, EQ-T_frac: translation by parts of pixels."""


@register_metric('eqr', pattern='eqr50k', motion='turn', **SHARED)
class Turns(Equivariance):
    """The metric `eqr50k`, EQ-R: rotation."""
