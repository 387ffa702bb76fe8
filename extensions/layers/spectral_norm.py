"""Spectral normalization (Miyato et al. 2018), and layers with optional spectral normalization.

The weight remains a plain parameter and `u` a plain buffer, so that copies, state dicts and moving averages work.

Letters: N batch, I and O input and output features, H and W height and width, k kernel size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from torch_utils.ops.conv2d import conv2d, conv_transpose2d


class SpectralNorm(torch.nn.Module):
    """Spectral normalization W / sigma(W) with sigma(W) = |W^T u|; training-mode forwards update u by a power
    iteration.

    v = W^T u is part of the graph. At convergence, value and first derivative of sigma equal those of u^T W v with
    fixed v. In addition, the derivatives of all orders are exact, as a gradient penalty through the layer requires.

    Args:
        weight: the weight, whose shape determines that of u.
        out_dim: dimension of the output features, 1 for transposed convolutions.
    """

    u: torch.Tensor

    def __init__(self, weight: torch.Tensor, out_dim: int = 0) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.register_buffer('u', F.normalize(torch.randn(weight.shape[out_dim]), dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        w = weight.transpose(0, self.out_dim).flatten(1)  # [O, I k k]
        if self.training:
            with torch.no_grad():
                v = F.normalize(w.t() @ self.u, dim=0)  # [I k k]
                self.u.copy_(F.normalize(w @ v, dim=0))
        # A copy, since the next forward changes the buffer while this graph may still be needed.
        return weight / torch.linalg.vector_norm(w.t() @ self.u.clone())


class Conv2d(torch.nn.Conv2d):
    """PyTorch's convolution [N, I, H, W] -> [N, O, H', W'] in its input's dtype; `sn` normalizes the weight."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
        sn: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        self.pad = padding
        self.sn = SpectralNorm(self.weight) if sn else None

    def normalized_weight(self) -> torch.Tensor:
        """Returns the weight that the convolution uses, float32 [O, I, k, k]."""
        return self.weight if self.sn is None else self.sn(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b = None if self.bias is None else self.bias.to(x.dtype)
        w = self.normalized_weight().to(x.dtype)
        return conv2d(x, w, b, self.stride, self.pad, self.dilation, self.groups)


class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """PyTorch's transposed convolution [N, I, H, W] -> [N, O, H', W'], otherwise as `Conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        sn: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.pad = padding
        self.sn = SpectralNorm(self.weight, out_dim=1) if sn else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # no output_size
        w = self.weight if self.sn is None else self.sn(self.weight)
        b = None if self.bias is None else self.bias.to(x.dtype)
        return conv_transpose2d(x, w.to(x.dtype), b, self.stride, self.pad)


class Linear(torch.nn.Linear):
    """PyTorch's linear layer [N, I] -> [N, O] in its input's dtype; `sn` normalizes the weight."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, sn: bool = False) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.sn = SpectralNorm(self.weight) if sn else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.weight if self.sn is None else self.sn(self.weight)
        return F.linear(x, w.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
