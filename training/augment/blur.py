"""Blur of the first images that D receives, which keeps it from judging by details before G has any.

Karras et al. 2021, arXiv 2106.12423, appendix F.1: for configuration R of StyleGAN3. Letters: N batch, C channels, H
and W image height and width, sigma in pixels, K reach of the filter in pixels.
"""

from __future__ import annotations

import math

import torch

from torch_utils.ops.upfirdn2d import filter2d


def sigma_at(nimg: int, sigma: float, fade_kimg: float) -> float:
    """Returns the sigma of the blur, which falls linearly to 0.

    Args:
        nimg: Number of real images shown so far.
        sigma: Initial sigma, in pixels.
        fade_kimg: Thousands of images after which it is 0.
    """
    return sigma * max(1 - nimg / (fade_kimg * 1000), 0)


def blur_filter(sigma: float, device: torch.device) -> torch.Tensor | None:
    """Returns the taps 2^-(t / sigma)^2 for |t| <= K = floor(3 sigma), [2 K + 1] with a sum of 1; None if K is 0.

    The base is 2, not e: the standard deviation is 0.849 sigma.
    """
    reach = math.floor(3 * sigma)
    if reach == 0:
        return None
    f = (torch.arange(-reach, reach + 1, device=device) / sigma).square().neg().exp2()
    return f / f.sum()


def blur(img: torch.Tensor, sigma: float) -> torch.Tensor:
    """Returns blurred images [N, C, H, W], zero outside; `img` itself if sigma is below a third of a pixel."""
    f = blur_filter(sigma, img.device)
    return img if f is None else filter2d(img, f)
