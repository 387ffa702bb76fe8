"""Equivariance of a generator: the images of a moved input against moved images (Karras et al. 2021, appendix E).

Letters: N images of a batch, C channels, H and W height and width, t shares of width and height, alpha an angle.
Masks are 1 where the moved image is known. Images nominally lie in [-1, 1].
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from metrics.registry import Motion
from torch_utils.ops.upfirdn2d import filter2d, upsample2d

Pair = tuple[torch.Tensor, torch.Tensor]

LOBES = 3  # a: reach of the Lanczos window, in pixels
REACH = 2 * LOBES  # reach of the filter of a rotation
GRID = 64  # half the side of the grid on which that filter is computed, in pixels
FINE = 4  # factor of up-sampling before an image is turned
RANGE = 2.0  # largest minus smallest value of an image


def psnr(squares: float, weights: float) -> float:
    """Returns the peak signal-to-noise ratio in dB: 10 log10(RANGE^2 / MSE). Infinite without any error."""
    return math.inf if squares == 0 else 10 * math.log10(RANGE**2 * weights / squares)


def errors(motion: Motion, still: torch.Tensor, moved: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Compares the images of a moved input with moved images.

    Args:
        motion: Kind of the motion.
        still: Images of the input as it is, [N, C, H, W].
        moved: Images of the moved input, [N, C, H, W].
        by: t [2], or alpha in radians [1].

    Returns:
        Sums of the squared errors inside of the mask, and of the mask, float64 [N, 2].
    """
    if motion == 'turn':
        reference, mask = rotate(still, float(by[0]))
        moved, other = band_limited(moved, float(by[0]))
        mask = mask * other
    else:
        shift = shift_by_pixels if motion == 'whole' else shift_by_parts
        reference, mask = shift(still, float(by[0]), float(by[1]))
    squares = (reference - moved).double().square() * mask  # [N, C, H, W]
    return torch.stack([squares.sum(dim=(1, 2, 3)), mask.double().expand_as(squares).sum(dim=(1, 2, 3))], dim=1)


def _shifted(x: torch.Tensor, pixels: int, axis: int) -> torch.Tensor:
    """Returns x [N, C, H, W] moved along an axis (2 or 3) by a number of pixels, zero where nothing is known."""
    size = x.shape[axis]
    kept = max(size - abs(pixels), 0)
    inner = x.narrow(axis, max(-pixels, 0) if kept else 0, kept)
    before, after = (pixels, 0) if pixels > 0 else (0, -pixels)
    before, after = (before, after) if kept else (0, size)
    return F.pad(inner, [0, 0, before, after] if axis == 2 else [before, after, 0, 0])


def shift_by_pixels(x: torch.Tensor, t_x: float, t_y: float) -> Pair:
    """Moves images by whole pixels.

    Args:
        x: Images, [N, C, H, W].
        t_x: Share of the width, to the right.
        t_y: Share of the height, down.

    Returns:
        The images, and the mask [1, 1, H, W].
    """
    mask = torch.ones_like(x[:1, :1])
    for axis, t in ((3, t_x), (2, t_y)):
        pixels = round(t * x.shape[axis])
        x, mask = _shifted(x, pixels, axis), _shifted(mask, pixels, axis)
    return x, mask


def shift_by_parts(x: torch.Tensor, t_x: float, t_y: float) -> Pair:
    """Moves images by parts of pixels, with a Lanczos filter of six taps. Arguments and result: `shift_by_pixels`."""
    mask = torch.ones_like(x[:1, :1])
    for axis, t in ((3, t_x), (2, t_y)):
        size = x.shape[axis]
        distance = np.float32(t) * np.float32(size)  # float32 like the images
        pixels = math.floor(distance)
        part = float(distance - np.float32(pixels))
        offsets = range(1 - LOBES, LOBES + 1)
        taps = np.array([np.sinc(o - part) * np.sinc((o - part) / LOBES) for o in offsets])
        taps /= taps.sum()
        x = sum((float(w) * _shifted(x, pixels + o, axis) for o, w in zip(offsets, taps, strict=True)), start=x * 0)
        known = torch.arange(size, device=x.device)
        known = (known >= pixels + LOBES) & (known < size + pixels - LOBES + 1)
        mask = mask * (known[:, None] if axis == 2 else known)
    return x, mask


def rotation(alpha: float) -> np.ndarray:
    """Returns R(alpha), counter-clockwise on a screen whose y points down, float64 [2, 2]."""
    c, s = math.cos(alpha), math.sin(alpha)
    return np.array([[c, s], [-s, c]])


@functools.lru_cache(maxsize=8)
def band_limit(alpha: float, up: int) -> torch.Tensor:
    """Returns the filter that keeps the frequencies which a square grid and a turned one have in common.

    The ideal filter is the convolution of the sinc functions of both grids; its window is that of two Lanczos windows.

    Args:
        alpha: Angle between the grids.
        up: Samples per pixel.

    Returns:
        Float32 [2 * REACH * up - 1] squared. Each of its up x up phases has the sum 1 / up^2.
    """
    axis = np.arange(1 - GRID * up, GRID * up) / up
    y, x = np.meshgrid(axis, axis, indexing='ij')
    turned = rotation(alpha) @ np.stack([x.ravel(), y.ravel()])
    x2, y2 = (part.reshape(x.shape) for part in turned)

    def lanczos(t: np.ndarray) -> np.ndarray:
        return np.where(np.abs(t) < LOBES, np.sinc(t / LOBES), 0)

    ideal = _circular(np.sinc(x) * np.sinc(y), np.sinc(x2) * np.sinc(y2))
    window = _circular(lanczos(x) * lanczos(y), lanczos(x2) * lanczos(y2))
    middle = slice(GRID * up - REACH * up, GRID * up + REACH * up - 1)
    f = (ideal * window)[middle, middle]
    for row in range(up):
        for column in range(up):
            f[row::up, column::up] /= f[row::up, column::up].sum() * up**2
    return torch.from_numpy(f).float()


def _circular(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the circular convolution of two arrays whose origin is their center."""
    spectra = (np.fft.rfft2(np.fft.ifftshift(part)) for part in (a, b))
    product = next(spectra) * next(spectra)
    result: np.ndarray = np.fft.fftshift(np.fft.irfft2(product, s=a.shape))
    return result


def rotate(x: torch.Tensor, alpha: float) -> Pair:
    """Turns images counter-clockwise, by an up-sampling and bilinear interpolation.

    Args:
        x: Images, [N, C, H, W].
        alpha: Angle in radians.

    Returns:
        The images, and the mask [1, 1, H, W].
    """
    f = band_limit(alpha, FINE).to(x.device)
    reach = f.shape[0] // 2
    height, width = x.shape[2:]
    fine = upsample2d(x, f, up=FINE, padding=reach)  # [N, C, FINE * H + 2 * reach, FINE * W + 2 * reach]
    theta = torch.zeros(2, 3, dtype=torch.float64)
    theta[:, :2] = torch.from_numpy(rotation(-alpha))
    theta[0, 1] *= height / width  # positions are shares of width and height
    theta[1, 0] *= width / height
    theta[:, 2] = torch.tensor([1 / (FINE * width), 1 / (FINE * height)])
    theta[0] *= width / (width + 2 * reach / FINE)
    theta[1] *= height / (height + 2 * reach / FINE)
    grid = F.affine_grid(theta.float()[None].to(x.device), [1, 1, height, width], align_corners=False)
    turned = F.grid_sample(fine, grid.expand(len(x), -1, -1, -1), align_corners=False)
    known = _without_border(torch.ones_like(fine[:1, :1]), 2 * reach + 1)
    return turned, F.grid_sample(known, grid, mode='nearest', align_corners=False)


def band_limited(x: torch.Tensor, alpha: float) -> Pair:
    """Removes the frequencies that `rotate` removes from an image that it turns. Arguments and result: `rotate`."""
    f = band_limit(-alpha, 1).to(x.device)
    return filter2d(x, f), _without_border(torch.ones_like(x[:1, :1]), f.shape[0] // 2)


def _without_border(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Returns a mask [1, 1, H, W] with zeros at its borders."""
    inner = mask[:, :, width:-width, width:-width]
    return F.pad(inner, [width] * 4)
