"""Images with reflected borders, whose gradient is reproducible under --deterministic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from torch_utils.devices import needs_fixed_order


def reflect(x: torch.Tensor, margins: Sequence[int]) -> torch.Tensor:
    """Returns images with reflected borders.

    PyTorch's reflection adds up the gradient in no fixed order on GPUs. Selecting rows and columns by index has a
    gradient in a fixed order, and gives the same numbers.

    Args:
        x: Images [N, C, H, W].
        margins: Pixels to add on the left, right, top and bottom, fewer than W and H.

    Returns:
        Images [N, C, top + H + bottom, left + W + right].
    """
    if not needs_fixed_order(x):
        return F.pad(x, list(margins), mode='reflect')
    left, right, top, bottom = margins
    columns = _source(x.shape[3], left, right, x.device)  # [W']
    rows = _source(x.shape[2], top, bottom, x.device)  # [H']
    return x.index_select(3, columns).index_select(2, rows)


def _source(size: int, before: int, after: int, device: torch.device) -> torch.Tensor:
    """Returns the pixel that each pixel of an enlarged axis shows, int64 [before + size + after]."""
    positions = torch.arange(-before, size + after, device=device).abs()
    return (size - 1) - ((size - 1) - positions).abs()
