"""ADA's geometric transforms: one map of the plane per image, applied in one resampling.

Maps are 3 x 3 on homogeneous (x, y, 1), in pixels from the center of the image with y pointing down. A rotated image
that is not square keeps its aspect and is clipped to the frame. G_inv maps positions in the result to positions in the
input.

The resampling (Karras et al. 2020, appendix B) reflects beyond the borders, upsamples by 2 with the Symlet sym6, reads
the positions bilinearly, and downsamples by 2 with the same taps reversed. sym6 is orthogonal to its shifts by two, so
that the identity map returns the image.

Letters: N batch, C channels, H and W height and width, O index of a fine row or column of the result.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from torch_utils.ops.grid_sample import grid_sample
from torch_utils.ops.upfirdn2d import upfirdn2d, upsample2d
from training.augment.draws import coin_sides, gated, normal, uniform
from training.augment.presets import Ranges, Transforms
from training.augment.reflection import reflect

# Low-pass filter of sym6, sum sqrt(2) (Daubechies, "Ten lectures on wavelets", table 8.3: the least asymmetric, N = 6).
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
# Reach of the filters in pixels to the left (above) and to the right (below). A pixel of the result depends on fine
# samples at -2.5 to 3 around it, a sample on fine pixels less than 0.5 away, a fine pixel on pixels at -3 to 2.5 around
# it.
RESULT_REACH = (2.5, 3.0)
INPUT_REACH = (3.5, 3.0)

Margins = tuple[int, int, int, int]  # left, right, top, bottom


class Warp(NamedTuple):
    """Arguments of `apply`."""

    margins: Margins  # pixels to reflect on each side
    theta: torch.Tensor  # [N, 2, 3]: position in the result, in pixels -> position in the fine input, edges at -1, 1


# ---- the maps


def draw(transforms: Transforms, ranges: Ranges, n: int, p: float, height: int, width: int) -> torch.Tensor | None:
    """Draws G_inv, float64 [N, 3, 3] on the host.

    Flips act first and fractional translations last. G_inv is the product of the inverses in this order: G = G_n ...
    G_1, G_inv = G_1^-1 ... G_n^-1. Each transform draws its values, then its gates.

    Args:
        transforms: multipliers of the probabilities.
        ranges: ranges of the transforms.
        n: N.
        p: strength.
        height: H.
        width: W.

    Returns:
        The maps, or None if no transform moves pixels.
    """
    if not transforms.geometric:
        return None
    t, size = transforms, torch.tensor([width, height], dtype=torch.float64)
    inverse = _identities(n)  # [N, 3, 3]
    if t.xflip > 0:
        flips = gated(coin_sides(n, 2), t.xflip * p)  # [N]: half of the gated images are flipped
        inverse = inverse @ scaling(1 - 2 * flips, torch.ones_like(flips))
    if t.rotate90 > 0:
        inverse = inverse @ quarter_turns(gated(coin_sides(n, 4), t.rotate90 * p))
    if t.xint > 0:
        shift = ((uniform(n, 2) * 2 - 1) * ranges.xint_max * size).round()  # [N, 2]
        inverse = inverse @ translation(-gated(shift, t.xint * p))
    if t.scale > 0:
        factor = gated(2 ** (normal(n) * ranges.scale_std), t.scale * p, neutral=1)  # [N]
        inverse = inverse @ scaling(1 / factor, 1 / factor)
    if t.rotate > 0:
        inverse = inverse @ rotation(-_angles(t, ranges, n, p))
    if t.aniso > 0:
        factor = gated(2 ** (normal(n) * ranges.aniso_std), t.aniso * p, neutral=1)  # [N]
        inverse = inverse @ scaling(1 / factor, factor)
    if t.rotate > 0:
        inverse = inverse @ rotation(-_angles(t, ranges, n, p))
    if t.xfrac > 0:
        inverse = inverse @ translation(-gated(normal(n, 2) * ranges.xfrac_std * size, t.xfrac * p))
    return inverse


def _angles(t: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor:
    """Draws one of the two rotations in radians, [N]. The probability of at least one of both is `rotate` p."""
    probability = 1 - math.sqrt(min(max(1 - t.rotate * p, 0), 1))
    return gated((uniform(n) * 2 - 1) * math.pi * ranges.rotate_max, probability)


def _identities(n: int) -> torch.Tensor:
    return torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)  # [N, 3, 3]


def translation(shift: torch.Tensor) -> torch.Tensor:
    """Returns translations by (x, y), [N, 2] -> [N, 3, 3]."""
    m = _identities(len(shift))
    m[:, :2, 2] = shift
    return m


def scaling(sx: torch.Tensor, sy: torch.Tensor) -> torch.Tensor:
    """Returns scalings of the axes, [N] and [N] -> [N, 3, 3]."""
    m = _identities(len(sx))
    m[:, 0, 0], m[:, 1, 1] = sx, sy
    return m


def rotation(angle: torch.Tensor) -> torch.Tensor:
    """Returns clockwise rotations by radians, from x toward y, [N] -> [N, 3, 3]."""
    return _turn(angle.cos(), angle.sin())


def quarter_turns(count: torch.Tensor) -> torch.Tensor:
    """Returns G_inv of `count` exact counterclockwise quarter turns, as in torch.rot90, [N] -> [N, 3, 3]."""
    table = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)[count.long()]  # [N, 2]
    return _turn(table[:, 0], table[:, 1])


def _turn(cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    m = _identities(len(cosine))
    m[:, 0, 0], m[:, 0, 1] = cosine, -sine
    m[:, 1, 0], m[:, 1, 1] = sine, cosine
    return m


# ---- the resampling


def plan(inverse: torch.Tensor, height: int, width: int) -> Warp:
    """Returns the arguments of `apply`, on the host in float64.

    Args:
        inverse: G_inv, [N, 3, 3].
        height: Height of the images in pixels.
        width: Width of the images in pixels.
    """
    margins = needed_margins(inverse, height, width)
    left, right, top, bottom = margins
    # Pixel k of the padded input is fine pixel 2 k, half a fine pixel left of its position by pixel areas.
    recenter = torch.tensor([left - right, top - bottom], dtype=torch.float64)
    corner = torch.tensor([width + left + right, height + top + bottom], dtype=torch.float64)
    fine = 2 * inverse[:, :2]  # [N, 2, 3]
    fine[:, :, 2] += recenter - 0.5
    return Warp(margins, fine / corner[:, None])


def needed_margins(inverse: torch.Tensor, height: int, width: int) -> Margins:
    """Returns the number of pixels to reflect on each side, at most the size minus one.

    Reading: the official code maps the image's corners and adds 6 pixels for both filters. If an image shrinks to a
    fraction s of its size, this is too small by 3 / s - 3: zeros appear unless another image of the batch needs more.
    Here the map also applies to the reach of the downsampling filter, so that an image does not depend on the others.
    At the identity, both give 6.

    Args:
        inverse: G_inv, [N, 3, 3].
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Returns:
        Margins in pixels: left, right, top, bottom.
    """
    sides = []
    for size in (width, height):
        half = (size - 1) / 2
        sides.append(torch.tensor([-half - RESULT_REACH[0], half + RESULT_REACH[1]], dtype=torch.float64))
    corners = torch.cartesian_prod(*sides, torch.ones(1, dtype=torch.float64))  # [4, 3]
    places = (corners @ inverse[:, :2].mT).flatten(0, 1)  # [4 N, 2]
    margins = []
    for size, low, high in zip((width, height), *places.aminmax(dim=0), strict=True):
        half = (size - 1) / 2
        for reach in (-float(low) + INPUT_REACH[0] - half, float(high) + INPUT_REACH[1] - half):
            margins.append(math.ceil(min(max(reach, 0), size - 1)))
    left, right, top, bottom = margins
    return left, right, top, bottom


def apply(
    img: torch.Tensor,
    theta: torch.Tensor,
    margins: Margins,
) -> torch.Tensor:
    """Resamples images.

    Args:
        img: Images, [N, C, H, W].
        theta: Maps of `plan`, [N, 2, 3].
        margins: Margins of `plan`.

    Returns:
        Images, [N, C, H, W].
    """
    height, width = img.shape[2:]
    f = _filter(img.device, img.dtype)
    fine = upsample2d(reflect(img, margins), f)  # [N, C, 2 (H + margins), 2 (W + margins)]
    fine = grid_sample(fine, places(theta, height, width))  # [N, C, 2 H + 10, 2 W + 10]
    return upfirdn2d(fine, f, down=2, flip_filter=True)  # [N, C, H, W]


def move_features(features: torch.Tensor, inverse: torch.Tensor, width: int) -> torch.Tensor:
    """Moves features as their images were moved. Features of images that were not moved stay as they are.

    The maps, the reflection and the filter on the way down are those of `apply`. On the way up, bilinear interpolation
    takes the place of the filter, which would ring at the jumps of features. Both are half a fine pixel left of their
    positions, so that the same arguments apply.

    Args:
        features: [N, C, h, w].
        inverse: G_inv of the images, float64 [N, 3, 3] on the host.
        width: Width of the images in pixels.

    Returns:
        [N, C, h, w].
    """
    chosen = (inverse != torch.eye(3)).flatten(1).any(dim=1).nonzero()[:, 0]  # [M]
    if len(chosen) == 0:
        return features
    size: tuple[int, int] = (features.shape[2], features.shape[3])
    maps = inverse[chosen]  # [M, 3, 3]
    maps[:, :2, 2] *= size[1] / width
    margins, theta = plan(maps, *size)
    chosen = chosen.to(features.device, non_blocking=True)
    theta = theta.to(features.dtype).to(features.device, non_blocking=True)
    padded = reflect(features.index_select(0, chosen), margins)
    fine = F.interpolate(padded, scale_factor=2, mode='bilinear', align_corners=False)
    fine = grid_sample(fine, places(theta, *size))  # [M, C, 2 h + 10, 2 w + 10]
    moved = upfirdn2d(fine, _filter(features.device, features.dtype), down=2, flip_filter=True)  # [M, C, h, w]
    return features.index_copy(0, chosen, moved)


def places(theta: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Returns the positions of the result's fine samples in the input.

    Uses products and sums, since a matrix product may run in TF32, which would be off by a pixel.

    Args:
        theta: Maps of `plan`, [N, 2, 3].
        height: Height of the result in pixels, H.
        width: Width of the result in pixels, W.

    Returns:
        Positions (x, y), [N, 2 H + 10, 2 W + 10, 2].
    """

    def ticks(size: int) -> torch.Tensor:
        first = -(size - 1) / 2 - RESULT_REACH[0]
        return first + torch.arange(2 * size + 10, device=theta.device, dtype=theta.dtype) / 2  # [O]

    columns = theta[:, None, None, :, 0] * ticks(width)[:, None]  # [N, 1, O, 2]
    rows = theta[:, None, None, :, 1] * ticks(height)[:, None, None]  # [N, O, 1, 2]
    return columns + (rows + theta[:, None, None, :, 2])


@functools.cache
def _filter(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Returns sym6, scaled to a sum of 1, [12]."""
    with torch.inference_mode(False):  # a cached tensor may take part in later gradients
        taps = torch.tensor(SYM6, dtype=torch.float64)
        return (taps / taps.sum()).to(dtype).to(device, non_blocking=True)
