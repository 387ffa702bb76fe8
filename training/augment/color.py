"""ADA's color transforms: one affine map of colors per image, applied in one pass.

Maps are 4 x 4 on homogeneous (r, g, b, 1), with colors in [-1, 1].

Letters: N batch, K color channels, H and W height and width.
"""

from __future__ import annotations

import math

import torch

from training.augment.draws import coin_sides, gated, normal, uniform
from training.augment.presets import Ranges, Transforms


def num_colors(channels: int) -> int:
    """Returns the number of first channels that are colors: 3 for RGB, else 1; the others are alpha or other planes.

    Reading: the official code accepts only 1 and 3 channels. Alpha is not a color: geometric transforms and cutout
    apply to it, color transforms, filter and noise do not.
    """
    return 3 if channels >= 3 else 1


def draw(transforms: Transforms, ranges: Ranges, n: int, p: float, colors: int) -> torch.Tensor | None:
    """Draws the color map of each image, float64 [N, 4, 4] on the host.

    Maps are multiplied from the left in the order of drawing: brightness acts first. Each transform draws its values,
    then its gates. Gray images have neither hue nor saturation.

    Args:
        transforms: multipliers of the probabilities.
        ranges: ranges of the transforms.
        n: N.
        p: strength.
        colors: K.

    Returns:
        The maps, or None if no transform maps colors.
    """
    t = transforms
    if not t.color:
        return None
    m = _identities(n)  # [N, 4, 4]
    if t.brightness > 0:
        m = brightness(gated(normal(n) * ranges.brightness_std, t.brightness * p)) @ m
    if t.contrast > 0:
        m = contrast(gated(2 ** (normal(n) * ranges.contrast_std), t.contrast * p, neutral=1)) @ m
    if t.lumaflip > 0:
        m = luma_flip(gated(coin_sides(n, 2), t.lumaflip * p)) @ m  # half of the gated images are flipped
    if t.hue > 0 and colors == 3:
        m = hue_rotation(gated((uniform(n) * 2 - 1) * math.pi * ranges.hue_max, t.hue * p)) @ m
    if t.saturation > 0 and colors == 3:
        m = saturation(gated(2 ** (normal(n) * ranges.saturation_std), t.saturation * p, neutral=1)) @ m
    return m


def _identities(n: int) -> torch.Tensor:
    return torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)  # [N, 4, 4]


def _gray() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns v v^T of the gray axis v = (1, 1, 1, 0) / sqrt(3), and the identity on r, g and b; both [4, 4]."""
    v = torch.tensor([1, 1, 1, 0], dtype=torch.float64)
    return v.outer(v) / 3, v.diag()


def brightness(shift: torch.Tensor) -> torch.Tensor:
    """Returns maps that add `shift` to r, g and b, [N] -> [N, 4, 4]."""
    m = _identities(len(shift))
    m[:, :3, 3] = shift[:, None]
    return m


def contrast(factor: torch.Tensor) -> torch.Tensor:
    """Returns maps that multiply r, g and b by `factor`, [N] -> [N, 4, 4]."""
    m = _identities(len(factor))
    m[:, 0, 0], m[:, 1, 1], m[:, 2, 2] = factor, factor, factor
    return m


def luma_flip(flip: torch.Tensor) -> torch.Tensor:
    """Returns maps that invert the component along the gray axis where `flip` is 1, [N] -> [N, 4, 4].

    The map is the Householder reflection I - 2 v v^T.
    """
    return _identities(len(flip)) - 2 * _gray()[0] * flip[:, None, None]


def hue_rotation(angle: torch.Tensor) -> torch.Tensor:
    """Returns rotations about the gray axis by radians, [N] -> [N, 4, 4]: cos I + sin [v]x + (1 - cos) v v^T."""
    along, rgb = _gray()
    cross = torch.zeros(4, 4, dtype=torch.float64)  # [v]x
    cross[[1, 2, 0], [0, 1, 2]] = 1 / math.sqrt(3)
    cross -= cross.mT.clone()
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    m = cosine * (rgb - along) + sine * cross + along  # [N, 4, 4]; I v v^T = v v^T
    m[:, 3, 3] = 1
    return torch.where(angle[:, None, None] == 0, _identities(len(angle)), m)


def saturation(factor: torch.Tensor) -> torch.Tensor:
    """Returns maps that multiply the component orthogonal to the gray axis: v v^T + (I - v v^T) factor."""
    along, rgb = _gray()
    m = along + (rgb - along) * factor[:, None, None]
    m[:, 3, 3] = 1
    return torch.where(factor[:, None, None] == 1, _identities(len(factor)), m)


def plan(maps: torch.Tensor, colors: int) -> torch.Tensor:
    """Returns the factors and shifts of maps [N, 4, 4] for `apply`, [N, K, K + 1].

    For gray images, r, g and b are the single channel, and the result is their mean.
    """
    if colors == 3:
        return maps[:, :3]
    mean = maps[:, :3].mean(dim=1, keepdim=True)  # [N, 1, 4]
    return torch.cat([mean[:, :, :3].sum(dim=2, keepdim=True), mean[:, :, 3:]], dim=2)


def apply(
    img: torch.Tensor,  # [N, K, H, W]
    maps: torch.Tensor,  # [N, K, K + 1], of `plan`
) -> torch.Tensor:
    """Returns the images with mapped colors, [N, K, H, W].

    Uses products and sums, since a matrix product may run in TF32, which keeps 10 bits.
    """
    maps = maps[..., None, None]  # [N, K, K + 1, 1, 1]
    result = maps[:, :, -1]
    for k in range(img.shape[1]):
        result = torch.addcmul(result, img[:, k : k + 1], maps[:, :, k])
    return result
