"""ADA's image-space filter: the strength of four bands of frequency, octaves but for the lowest.

The bands are undecimated wavelets of sym2, the Daubechies wavelet with two vanishing moments (Karras et al. 2020,
appendix B): from top to bottom half of what frequencies there are, then half of the rest, and so on. They add up to
the image.
Letters: N batch, K colour channels, H and W height and width, B = 4 bands, L = 43 taps.
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

REACH = 21  # taps on either side of the middle one
# Power that natural images have in the bands (1 / f spectrum), which stays as it is on average.
EXPECTED_POWER = torch.tensor([10, 1, 1, 1], dtype=torch.float64) / 13


def require_size(height: int, width: int) -> None:
    """Raises ConfigError where an image is too small to be reflected over the filter's reach."""
    if min(height, width) <= REACH:
        raise ConfigError(
            f'--augpipe: its image filter needs images of at least {REACH + 1}x{REACH + 1}, not {width}x{height}; '
            'take a set without it, as --augpipe=bgc'
        )


@functools.cache
def filter_bank() -> torch.Tensor:
    """The bands' filters, low frequencies first, float64 [B, L] on the host.

    With H the low-pass filter of sym2: low(z) = H(z) H(1/z) / 2 and high(z) = H(-z) H(-1/z) / 2 add up to 1. A level
    splits its lowest band by both; the next level does so by filters spread to twice the distance.
    """
    root = math.sqrt(3)
    sym2 = np.array([1 - root, 3 - root, 3 + root, 1 + root]) / (4 * math.sqrt(2))
    alternating = sym2 * [1, -1, 1, -1]
    low, high = (np.convolve(h, h[::-1]) / 2 for h in (sym2, alternating))  # [7]
    bank = np.array([[1.0], [0.0], [0.0], [0.0]])  # [B, taps]: of one band, all
    for band in (1, 2, 3):
        spread = np.zeros([4, 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in spread])
        middle = bank.shape[1] // 2
        bank[band, middle - 3 : middle + 4] += high
    return torch.from_numpy(bank)


def draw(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """The bands' strengths, float64 [N, B] on the host; None without the transform. For each band values, then gates.

    A band that is changed changes the others too, so that the expected power stays.
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
    """The filter of each image, [N, L], from its bands' strengths [N, B]."""
    return gains @ filter_bank()


def apply(
    img: torch.Tensor,  # [N, K, H, W], H and W above 21
    taps: torch.Tensor,  # [N, L]
) -> torch.Tensor:
    """Every image by its own filter along x and along y, reflected beyond the borders, [N, K, H, W]."""
    n, k, h, w = img.shape
    taps = taps.repeat_interleave(k, dim=0)[:, None, None]  # [N K, 1, 1, L]
    x = F.pad(img, [REACH] * 4, mode='reflect').reshape(1, n * k, h + 2 * REACH, w + 2 * REACH)
    x = F.conv2d(x, taps, groups=n * k)
    x = F.conv2d(x, taps.mT, groups=n * k)
    return x.view(n, k, h, w)
