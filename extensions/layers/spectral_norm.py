"""Spectral normalization (Miyato et al. 2018), and layers with optional spectral normalization.

The weight remains a plain parameter and `u` a plain buffer, so that copies, state dicts and moving averages work. On a
GPU, networks prepare the weights of all these layers at once (`preparation.py`): normalized, cast and laid out for the
convolutions by a few launches. On a CPU launches cost nothing, and every layer does so for itself.

Letters: N batch, I and O input and output features, H and W height and width, k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from torch_utils.ops import dispatch
from torch_utils.ops.conv2d import conv2d, conv_transpose2d
from torch_utils.ops.spectral_weights import spectral_weights
from training.networks.lowering import Norm, Preparable, Request


class SpectralNorm(torch.nn.Module):
    """Spectral normalization W / sigma(W) with sigma(W) = |W^T u|; training-mode forwards update u by a power
    iteration. `torch_utils/ops/spectral_weights.py` has the details.

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
        impl = 'auto' if dispatch.pick('auto', weight) == 'cuda' else 'ref'  # on a CPU, the bits of earlier versions
        (normalized,) = spectral_weights(
            [weight], [self.u], [self.out_dim], [weight.dtype], iterate=self.training, impl=impl
        )
        if self.training:
            with torch.no_grad():
                self.u.copy_(normalized.u)
        return normalized.weight


class NormalizedLayer(Preparable):
    """Base class of the layers: weight and bias in the dtype of the input.

    What a network has prepared serves one run. A layer that runs twice in a pass normalizes for its second run.
    """

    weight: Any  # torch.Tensor; PyTorch's layers declare it in different ways
    bias: Any  # torch.Tensor | None
    sn: SpectralNorm | None
    lowered: bool  # whether the layer computes in the precision of its block

    def requests(self, dtype: torch.dtype) -> Iterator[Request]:
        """Yields the weights to prepare in a block of dtype `dtype`."""
        to = dtype if self.lowered else self.weight.dtype
        norm = None if self.sn is None else Norm(self.sn.u, self.sn.out_dim, self.sn.training)
        if norm is not None or to != self.weight.dtype:
            yield Request(self, 'weight', dtype=to, norm=norm)
        if self.bias is not None and to != self.bias.dtype:
            yield Request(self, 'bias', dtype=to)

    def normalized_weight(self) -> torch.Tensor:
        """Returns the weight that the layer uses: float32, or as it was prepared."""
        if 'weight' in self.ready:
            return self.ready.pop('weight').weight
        weight: torch.Tensor = self.weight if self.sn is None else self.sn(self.weight)
        return weight

    def cast_bias(self, dtype: torch.dtype) -> torch.Tensor | None:
        """Returns the bias that the layer uses, in a dtype."""
        b: torch.Tensor | None = self.ready.pop('bias').weight if 'bias' in self.ready else self.bias
        return None if b is None else b.to(dtype)

    def cast_parameters(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns weight and bias that the layer uses, in a dtype."""
        return self.normalized_weight().to(dtype), self.cast_bias(dtype)


class Conv2d(NormalizedLayer, torch.nn.Conv2d):
    """PyTorch's convolution [N, I, H, W] -> [N, O, H', W'] in its input's dtype; `sn` normalizes the weight.

    `lowered` is False if the layer computes in float32 inside a block of lower precision.
    """

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
        lowered: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        self.pad = padding
        self.sn = SpectralNorm(self.weight) if sn else None
        self.lowered = lowered

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w, b = self.cast_parameters(x.dtype)
        return conv2d(x, w, b, self.stride, self.pad, self.dilation, self.groups)


class ConvTranspose2d(NormalizedLayer, torch.nn.ConvTranspose2d):
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
        self.lowered = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # no output_size
        w, b = self.cast_parameters(x.dtype)
        return conv_transpose2d(x, w, b, self.stride, self.pad)


class Linear(NormalizedLayer, torch.nn.Linear):
    """PyTorch's linear layer [N, I] -> [N, O] in its input's dtype; `sn` normalizes the weight.

    `lowered` is True if the layer computes in the precision of its block.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, sn: bool = False, lowered: bool = False
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.sn = SpectralNorm(self.weight) if sn else None
        self.lowered = lowered

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, *self.cast_parameters(x.dtype))
