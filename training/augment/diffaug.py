"""DiffAugment (Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020, section 4).

Every image is augmented with its own draws, in the order of `POLICIES`. Draws are made on the host in float64 from
torch's CPU generator. The result is differentiable any number of times in the images.

Letters: N batch, C channels, K color channels, H and W height and width.
"""

from __future__ import annotations

import torch

from dnnlib.errors import ConfigError
from training.augment.color import num_colors
from training.augment.draws import uniform

POLICIES = ('color', 'translation', 'cutout')
MAX_SHIFT = 1 / 8  # fraction of width and height
CUTOUT_SIZE = 1 / 2  # fraction of width and height


class DiffAugment:
    """DiffAugment of batches of images. policy: names of `POLICIES`, separated by commas, in any order."""

    def __init__(self, policy: str = 'color,translation,cutout') -> None:
        names = policy.split(',')
        if not set(names) <= set(POLICIES) or len(set(names)) < len(names):
            raise ConfigError(f'DiffAugment policy {policy!r}: name each of {", ".join(POLICIES)} at most once')
        self.policy = tuple(name for name in POLICIES if name in names)

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Returns the augmented images, same shape and dtype.

        Color transforms apply to the first 3 channels of 3 or more, or to the first of 1 or 2. Translation and cutout
        apply to all channels.

        Args:
            img: [N, C, H, W], float32 in [-1, 1], or float64 for checks.

        Raises:
            ValueError: if shape or dtype differ.
        """
        if img.ndim != 4 or img.dtype not in (torch.float32, torch.float64):
            raise ValueError(f'DiffAugment: expected img [N, C, H, W] in float32, got {list(img.shape)} in {img.dtype}')
        n, channels, height, width = img.shape
        if 'color' in self.policy:
            k = num_colors(channels)
            img = torch.cat([recolor(img[:, :k], _to_device_of(draw_color(n), img)), img[:, k:]], dim=1)
        if 'translation' in self.policy:
            img = translate(img, _to_device_of(draw_shifts(n, height, width), img))
        if 'cutout' in self.policy:
            img = cut_out(img, _to_device_of(draw_corners(n, height, width), img))
        return img


def _to_device_of(draws: torch.Tensor, img: torch.Tensor) -> torch.Tensor:
    return draws.to(img.dtype).to(img.device, non_blocking=True)


def draw_color(n: int) -> torch.Tensor:
    """Draws brightness in [-0.5, 0.5), saturation in [0, 2), contrast in [0.5, 1.5), float64 [N, 3]."""
    return uniform(n, 3) * torch.tensor([1.0, 2.0, 1.0]) + torch.tensor([-0.5, 0.0, 0.5])


def draw_shifts(n: int, height: int, width: int) -> torch.Tensor:
    """Draws integer shifts (x, y), uniform from -1/8 to 1/8 of the size inclusive.

    Args:
        n: Number of images, N.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Returns:
        Shifts in pixels, float64 [N, 2].
    """
    furthest = torch.tensor([_share(width, MAX_SHIFT), _share(height, MAX_SHIFT)])
    return (uniform(n, 2) * (2 * furthest + 1)).floor() - furthest


def draw_corners(n: int, height: int, width: int) -> torch.Tensor:
    """Draws the left and upper edges (x, y) of the squares.

    Reading: the paper has "a random square of half image size". Its center is uniform over the boundaries between
    pixels, including the image's borders, and the square is clipped to the image, as in the authors' code. A square
    inside the image would always remove a quarter of it, and nearly always its center.

    Args:
        n: Number of images, N.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Returns:
        Positions in pixels, float64 [N, 2].
    """
    sizes = torch.tensor([width, height])
    cut = torch.tensor([_share(width, CUTOUT_SIZE), _share(height, CUTOUT_SIZE)])
    return (uniform(n, 2) * (sizes + 1)).floor() - cut // 2


def _share(size: int, share: float) -> int:
    """Returns a fraction of a size in whole pixels, rounding halves up."""
    return int(size * share + 0.5)


def recolor(
    img: torch.Tensor,  # [N, K, H, W]
    draws: torch.Tensor,  # [N, 3], of `draw_color`
) -> torch.Tensor:
    """Shifts the brightness, then scales the difference from gray, then the difference from the image's mean."""
    brightness, saturation, contrast = draws[:, :, None, None, None].unbind(dim=1)  # [N, 1, 1, 1] each
    img = img + brightness
    gray = img.mean(dim=1, keepdim=True)  # [N, 1, H, W]
    img = gray + (img - gray) * saturation
    mean = img.mean(dim=[1, 2, 3], keepdim=True)  # [N, 1, 1, 1]
    return mean + (img - mean) * contrast


def translate(
    img: torch.Tensor,  # [N, C, H, W]
    shifts: torch.Tensor,  # [N, 2] whole pixels to the right and down
) -> torch.Tensor:
    """Shifts every image and fills with zeros, [N, C, H, W]."""
    channels, height, width = img.shape[1:]
    x = torch.arange(width, device=img.device) - shifts[:, :1].long()  # [N, W]
    y = torch.arange(height, device=img.device) - shifts[:, 1:].long()  # [N, H]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]  # [N, H, W]
    source = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]  # [N, H, W]
    moved = img.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, channels, -1))  # [N, C, H * W]
    return moved.view_as(img) * inside[:, None].to(img.dtype)


def cut_out(
    img: torch.Tensor,  # [N, C, H, W]
    corners: torch.Tensor,  # [N, 2], of `draw_corners`
) -> torch.Tensor:
    """Returns the images with zeros in a rectangle of half their height and width, [N, C, H, W]."""
    height, width = img.shape[2:]
    size_x, size_y = _share(width, CUTOUT_SIZE), _share(height, CUTOUT_SIZE)
    x = torch.arange(width, device=img.device) - corners[:, :1]  # [N, W]
    y = torch.arange(height, device=img.device) - corners[:, 1:]  # [N, H]
    inside = ((y >= 0) & (y < size_y))[:, :, None] & ((x >= 0) & (x < size_x))[:, None, :]  # [N, H, W]
    return img * (~inside[:, None]).to(img.dtype)
