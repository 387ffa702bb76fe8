"""Batch normalization, and one with gain and bias determined by a vector.

Letters: N batch, C channels, H and W height and width, V width of the vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from torch_utils.ops.batch_norm import batch_norm


class BatchNorm2d(torch.nn.BatchNorm2d):
    """PyTorch's layer, [N, C, H, W] -> same shape. `normalized` runs it, on a GPU by fewer launches.

    Attributes:
        counted: Whether the network has counted the batch of this pass, together with those of its other layers.
    """

    counted = False
    num_batches_tracked: torch.Tensor

    def moves(self) -> bool:
        """Returns whether a run moves the running statistics by `momentum`, not by the number of batches."""
        return self.training and self.momentum is not None

    def is_fast(self) -> bool:
        """Returns whether the layer is on a GPU."""
        return self.num_batches_tracked.device.type == 'cuda'

    def moving_forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the result in the dtype of `x`, for layers that move."""
        assert self.momentum is not None
        if not self.counted:
            self.num_batches_tracked.add_(1)
        return batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps)


def normalized(norm: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Returns norm(x) [N, C, H, W] in the dtype of `x`; statistics are at least float32."""
    if isinstance(norm, BatchNorm2d) and norm.moves() and norm.is_fast():
        return norm.moving_forward(x)
    y: torch.Tensor = norm(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)
    return y


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
        self.bn = BatchNorm2d(channels, affine=False)
        self.gain = linear(v_dim, channels)
        self.shift = linear(v_dim, channels)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        gain = 1 + self.gain(v)[:, :, None, None]  # [N, C, 1, 1]
        shift = self.shift(v)[:, :, None, None]  # [N, C, 1, 1]
        return torch.addcmul(shift, normalized(self.bn, x.float()), gain).to(x.dtype)
