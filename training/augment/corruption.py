"""ADA's corruptions: noise with a random strength per image, and a rectangular cutout.

Letters: N batch, C channels, K color channels, H and W height and width.
"""

from __future__ import annotations

import torch

from training.augment.draws import gated, normal, uniform
from training.augment.presets import Ranges, Transforms


def draw_noise(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """Draws the standard deviation of each image's noise.

    Args:
        transforms: Multipliers of the probabilities.
        ranges: Ranges of the transforms.
        n: N.
        p: Strength.

    Returns:
        float64 [N] on the host, or None without the transform.
    """
    if transforms.noise == 0:
        return None
    return gated((normal(n) * ranges.noise_std).abs(), transforms.noise * p)


def draw_cutout(transforms: Transforms, ranges: Ranges, n: int, p: float) -> torch.Tensor | None:
    """Draws each image's rectangle: center (x, y) and half size, relative to the image; 0 if the gate is closed.

    Centers are drawn before gates.

    Args:
        transforms: Multipliers of the probabilities.
        ranges: Ranges of the transforms.
        n: N.
        p: Strength.

    Returns:
        float64 [N, 3] on the host, or None without the transform.
    """
    if transforms.cutout == 0:
        return None
    half = torch.full([n, 1], ranges.cutout_size / 2, dtype=torch.float64)
    return gated(torch.cat([uniform(n, 2), half], dim=1), transforms.cutout * p)


def apply_noise(
    img: torch.Tensor,  # [N, K, H, W]
    sigma: torch.Tensor,  # [N]
) -> torch.Tensor:
    """Returns the images with noise, which is drawn on their device, [N, K, H, W]."""
    return torch.addcmul(img, torch.randn_like(img), sigma[:, None, None, None])


def apply_cutout(
    img: torch.Tensor,  # [N, C, H, W]
    windows: torch.Tensor,  # [N, 3], of `draw_cutout`
) -> torch.Tensor:
    """Returns the images with zeros (mid-gray) at pixels whose center is inside the rectangle, [N, C, H, W]."""
    height, width = img.shape[2:]
    x, y, half = windows[:, :, None].unbind(dim=1)  # [N, 1] each
    columns = (pixel_centres(width, img) - x).abs() < half  # [N, W]
    rows = (pixel_centres(height, img) - y).abs() < half  # [N, H]
    kept = ~(rows[:, :, None] & columns[:, None, :])[:, None]  # [N, 1, H, W]
    return img * kept.to(img.dtype)  # masked_fill with a broadcast mask is many times slower on CPUs


def pixel_centres(size: int, like: torch.Tensor) -> torch.Tensor:
    """Returns the positions of pixels' centers relative to the image, [size], in device and dtype of `like`."""
    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
