"""The resize of TensorFlow 1, which the official Inception and VGG16 files contain.

Letters: N batch, C image channels, H and W input height and width, S output size.
"""

from __future__ import annotations

import torch


def resize_like_tensorflow(
    x: torch.Tensor,  # [N, C, H, W] float
    size: int,
) -> torch.Tensor:
    """Resizes to [N, C, S, S] as `tf.image.resize_bilinear(align_corners=False)` of TensorFlow 1 does.

    Output pixel i lies at i * in / out of the input: no half-pixel centers and no antialiasing, so an image drifts
    towards the bottom right and a large one is undersampled. Kept because every published FID was measured this way.
    """
    return _stretch(_stretch(x, size, dim=3), size, dim=2)


def _stretch(x: torch.Tensor, size: int, dim: int) -> torch.Tensor:
    """Resizes linearly along one dimension; the last pixel's value continues beyond it."""
    old_size = x.shape[dim]
    position = torch.arange(size, device=x.device, dtype=torch.float32) * (old_size / size)  # [S]
    low = position.floor().long().clamp(max=old_size - 1)
    high = (low + 1).clamp(max=old_size - 1)
    shape = [1] * x.ndim
    shape[dim] = size
    share = (position - low).to(x.dtype).view(shape)
    return torch.lerp(x.index_select(dim, low), x.index_select(dim, high), share)
