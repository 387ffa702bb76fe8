"""Batch normalization with gain and bias determined by a vector.

Letters: N batch, C channels, H and W height and width, V width of the vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


class BigBN(torch.nn.Module):
    """Conditional batch normalization BN(x) (1 + W_g v) + W_b v, [N, C, H, W] (Brock et al. 2019, appendix C).

    Statistics and the affine map are float32; the result has the input's dtype.

    Args:
        channels: C.
        v_dim: V.
        linear: constructor of a bias-free linear layer from V and C.
    """

    def __init__(self, channels: int, v_dim: int, linear: Callable[[int, int], torch.nn.Module]) -> None:
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(channels, affine=False)
        self.gain = linear(v_dim, channels)
        self.shift = linear(v_dim, channels)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        gain = 1 + self.gain(v)[:, :, None, None]  # [N, C, 1, 1]
        shift = self.shift(v)[:, :, None, None]  # [N, C, 1, 1]
        return torch.addcmul(shift, self.bn(x.float()), gain).to(x.dtype)
