"""ADA's image-space filter: gains of four frequency bands, which are octaves except for the lowest.

The bands are undecimated wavelets of sym2, the Daubechies wavelet with two vanishing moments (Karras et al. 2020,
appendix B): the highest band has the upper half of all frequencies, the next one the upper half of the rest, and so on.
Their sum is the image.

Letters: N batch, K color channels, H and W height and width, B = 4 bands, L = 43 taps.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from training.augment.draws import gated, normal
from training.augment.presets import Ranges, Transforms
from training.augment.reflection import reflect

REACH = 21  # taps on each side of the middle one
# Power of natural images in the bands (1 / f spectrum); the expected total power is preserved.
EXPECTED_POWER = torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13


def require_size(height: int, width: int) -> None:
    """Raises ConfigError if an image is too small for the filter's padding by reflection."""
    if min(height, width) <= REACH:
        raise ConfigError(
            f'--augpipe: its image filter needs images of at least {REACH + 1}x{REACH + 1}, not {width}x{height}; '
            'use a preset without it, such as --augpipe=bgc'
        )


@functools.cache
def filter_bank() -> torch.Tensor:
    """Returns the bands' filters, low frequencies first, float64 [B, L] on the host.

    With H the low-pass filter of sym2, low(z) = H(z) H(1/z) / 2 and high(z) = H(-z) H(-1/z) / 2 add up to 1. Each level
    splits the lowest band by both; the next level uses filters spread to twice the distance.
    """
    root = math.sqrt(3)
    sym2 = np.array([1 - root, 3 - root, 3 + root, 1 + root]) / (4 * math.sqrt(2))
    alternating = sym2 * [1, -1, 1, -1]
    low, high = (np.convolve(h, h[::-1]) / 2 for h in (sym2, alternating))  # [7]
    bank = np.array([[1.0], [0.0], [0.0], [0.0]])  # [B, taps]; initially one band with everything
    for band in (1, 2, 3):
        spread = np.zeros([4, 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in spread])
        middle = bank.shape[1] // 2
        bank[band, middle - 3 : middle + 4] += high
    return torch.from_numpy(bank)


def draw(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """Draws the bands' gains. A change of one band rescales the others, so that the expected power is preserved.

    Each band draws its values, then its gates.

    Args:
        transforms: Multipliers of the probabilities.
        ranges: Ranges of the transforms.
        n: N.
        p: Strength.

    Returns:
        float64 [N, B] on the host, or None without the transform.
    """
    if transforms.imgfilter == 0:
        return None
    gains = torch.ones(n, 4, dtype=torch.float64)
    for band, multiplier in enumerate(ranges.imgfilter_bands):
        t = torch.ones(n, 4, dtype=torch.float64)
        t[:, band] = 2 ** (normal(n) * ranges.imgfilter_std)
        t /= (EXPECTED_POWER * t.square()).sum(dim=1, keepdim=True).sqrt()
        gains *= gated(t, transforms.imgfilter * multiplier * p, neutral=1)
    return gains


def plan(gains: torch.Tensor) -> torch.Tensor:
    """Returns the filter of each image, [N, L], from the gains of its bands, [N, B]."""
    return gains @ filter_bank()


def apply(
    img: torch.Tensor,  # [N, K, H, W], H and W above 21
    taps: torch.Tensor,  # [N, L]
) -> torch.Tensor:
    """Filters every image along x and y with its own filter and reflected borders, [N, K, H, W]."""
    n, k, h, w = img.shape
    taps = taps.repeat_interleave(k, dim=0)[:, None, None]  # [N K, 1, 1, L]
    x = reflect(img, [REACH] * 4).reshape(1, n * k, h + 2 * REACH, w + 2 * REACH)
    x = F.conv2d(x, taps, groups=n * k)
    x = F.conv2d(x, taps.mT, groups=n * k)
    return x.view(n, k, h, w)
