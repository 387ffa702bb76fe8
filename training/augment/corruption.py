"""ADA's corruptions: noise of a strength drawn for each image, and a rectangle cut out of it.

Letters: N batch, C channels, K colour channels, H and W height and width.
"""

from __future__ import annotations

import torch

from training.augment.draws import gated, normal, uniform
from training.augment.presets import Ranges, Transforms


def draw_noise(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """Standard deviation of each image's noise, float64 [N] on the host; None without the transform."""
    if transforms.noise == 0:
        return None
    return gated((normal(n) * ranges.noise_std).abs(), transforms.noise * p)


def draw_cutout(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """Each image's rectangle, float64 [N, 3] on the host: its centre (x, y) and half its size, in parts of the image.

    All are 0 where the gate is closed. None without the transform. First the centres, then the gates.
    """
    if transforms.cutout == 0:
        return None
    half = torch.full([n, 1], ranges.cutout_size / 2, dtype=torch.float64)
    return gated(torch.cat([uniform(n, 2), half], dim=1), transforms.cutout * p)


def apply_noise(
    img: torch.Tensor,  # [N, K, H, W]
    sigma: torch.Tensor,  # [N]
) -> torch.Tensor:
    """The images with noise, drawn on their device, [N, K, H, W]."""
    return torch.addcmul(img, torch.randn_like(img), sigma[:, None, None, None])


def apply_cutout(
    img: torch.Tensor,  # [N, C, H, W]
    windows: torch.Tensor,  # [N, 3], of `draw_cutout`
) -> torch.Tensor:
    """The images with zeros, mid-grey, where a pixel's centre lies in the rectangle, [N, C, H, W]."""
    height, width = img.shape[2:]
    x, y, half = windows[:, :, None].unbind(dim=1)  # [N, 1] each
    columns = (pixel_centres(width, img) - x).abs() < half  # [N, W]
    rows = (pixel_centres(height, img) - y).abs() < half  # [N, H]
    kept = ~(rows[:, :, None] & columns[:, None, :])[:, None]  # [N, 1, H, W]
    return img * kept.to(img.dtype)  # masked_fill is many times slower on CPUs where the mask broadcasts


def pixel_centres(size: int, like: torch.Tensor) -> torch.Tensor:
    """Places of pixels' centres in parts of the image, [size], on the device and in the dtype of `like`."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
