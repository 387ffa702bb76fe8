"""ADA's colour transforms: one affine map of colours an image, and one pass for all of them together.

Maps are 4 x 4 on homogeneous (r, g, b, 1), colours in [-1, 1].
Letters: N batch, K colour channels, H and W height and width.
"""

from __future__ import annotations

import math

import torch

from training.augment.draws import coin_sides, gated, normal, uniform
from training.augment.presets import Ranges, Transforms


def num_colours(channels: int) -> int:
    """Of an image's channels the first so many are its colours: RGB, or grey; the others are alpha or other planes.

    Reading: the official code refuses all but 1 and 3 channels. Alpha is no colour: it moves with the image and is cut
    out with it, but is not made brighter, filtered or disturbed.
    """
    return 3 if channels >= 3 else 1


def draw(transforms: Transforms, ranges: Ranges, n: int, p: float, colours: int) -> torch.Tensor | None:
    """The map of each image's colours, float64 [N, 4, 4] on the host; None where no transform maps colours.

    Left-multiplied in the order of drawing: brightness acts first. Of each transform the values are drawn, then the
    gates. Grey images have neither hue nor saturation.
    """
    t = transforms
    if not t.colour:
        return None
    m = _identities(n)  # [N, 4, 4]
    if t.brightness > 0:
        m = brightness(gated(normal(n) * ranges.brightness_std, t.brightness * p)) @ m
    if t.contrast > 0:
        m = contrast(gated(2 ** (normal(n) * ranges.contrast_std), t.contrast * p, neutral=1)) @ m
    if t.lumaflip > 0:
        m = luma_flip(gated(coin_sides(n, 2), t.lumaflip * p)) @ m  # half of those gated turn over
    if t.hue > 0 and colours == 3:
        m = hue_rotation(gated((uniform(n) * 2 - 1) * math.pi * ranges.hue_max, t.hue * p)) @ m
    if t.saturation > 0 and colours == 3:
        m = saturation(gated(2 ** (normal(n) * ranges.saturation_std), t.saturation * p, neutral=1)) @ m
    return m


def _identities(n: int) -> torch.Tensor:
    return torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)  # [N, 4, 4]


def _grey() -> tuple[torch.Tensor, torch.Tensor]:
    """v v^T of the grey axis v = (1, 1, 1, 0) / sqrt(3), and the 3 x 3 identity in a 4 x 4 matrix; both [4, 4]."""
    v = torch.tensor([1, 1, 1, 0], dtype=torch.float64)
    return v.outer(v) / 3, v.diag()


def brightness(shift: torch.Tensor) -> torch.Tensor:
    """Adds to r, g and b, [N] -> [N, 4, 4]."""
    m = _identities(len(shift))
    m[:, :3, 3] = shift[:, None]
    return m


def contrast(factor: torch.Tensor) -> torch.Tensor:
    """Multiplies r, g and b, [N] -> [N, 4, 4]."""
    m = _identities(len(factor))
    m[:, 0, 0], m[:, 1, 1], m[:, 2, 2] = factor, factor, factor
    return m


def luma_flip(flip: torch.Tensor) -> torch.Tensor:
    """Turns over the part along the grey axis where flip is 1, keeps all where it is 0, [N] -> [N, 4, 4].

    The Householder reflection I - 2 v v^T.
    """
    return _identities(len(flip)) - 2 * _grey()[0] * flip[:, None, None]


def hue_rotation(angle: torch.Tensor) -> torch.Tensor:
    """Turns about the grey axis by radians, [N] -> [N, 4, 4] (Rodrigues: cos I + sin [v]x + (1 - cos) v v^T)."""
    along, rgb = _grey()
    cross = torch.zeros(4, 4, dtype=torch.float64)  # [v]x
    cross[[1, 2, 0], [0, 1, 2]] = 1 / math.sqrt(3)
    cross -= cross.mT.clone()
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    m = cosine * (rgb - along) + sine * cross + along  # [N, 4, 4]; I v v^T = v v^T
    m[:, 3, 3] = 1
    return torch.where(angle[:, None, None] == 0, _identities(len(angle)), m)


def saturation(factor: torch.Tensor) -> torch.Tensor:
    """Multiplies the part across the grey axis, [N] -> [N, 4, 4]: v v^T + (I - v v^T) factor."""
    along, rgb = _grey()
    m = along + (rgb - along) * factor[:, None, None]
    m[:, 3, 3] = 1
    return torch.where(factor[:, None, None] == 1, _identities(len(factor)), m)


def plan(maps: torch.Tensor, colours: int) -> torch.Tensor:
    """What `apply` needs of the maps [N, 4, 4]: [N, K, K + 1], factors and the shift.

    On grey images all of r, g and b are the one channel, and the result is their mean.
    """
    if colours == 3:
        return maps[:, :3]
    mean = maps[:, :3].mean(dim=1, keepdim=True)  # [N, 1, 4]
    return torch.cat([mean[:, :, :3].sum(dim=2, keepdim=True), mean[:, :, 3:]], dim=2)


def apply(
    img: torch.Tensor,  # [N, K, H, W]
    maps: torch.Tensor,  # [N, K, K + 1], of `plan`
) -> torch.Tensor:
    """The images with their colours mapped, [N, K, H, W].

    By products and sums: a matrix product may run in TF32, which keeps 10 bits of a colour.
    """
    maps = maps[..., None, None]  # [N, K, K + 1, 1, 1]
    result = maps[:, :, -1]
    for k in range(img.shape[1]):
        result = torch.addcmul(result, img[:, k : k + 1], maps[:, :, k])
    return result
