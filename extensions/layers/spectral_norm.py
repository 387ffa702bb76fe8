"""Spectral normalization (Miyato et al. 2018), and layers with optional spectral normalization.

The weight remains a plain parameter and `u` a plain buffer, so that copies, state dicts and moving averages work.

Letters: N batch, I and O input and output features, H and W height and width, k kernel size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from torch_utils.ops.conv2d import conv2d, conv_transpose2d

EPSILON = 1e-12  # smallest divisor, as in F.normalize


class SpectralNorm(torch.nn.Module):
    """Spectral normalization W / sigma(W) with sigma(W) = |W^T u|; training-mode forwards update u by a power
    iteration.

    v = W^T u is part of the graph. At convergence, value and first derivative of sigma equal those of u^T W v with
    fixed v. In addition, the derivatives of all orders are exact, as a gradient penalty through the layer requires.

    Args:
        weight: the weight, whose shape determines that of u.
        out_dim: dimension of the output features, 1 for transposed convolutions.

    Attributes:
        ahead: u after the next power iteration, if `iterate_together` has done that already; None otherwise.
    """

    u: torch.Tensor

    def __init__(self, weight: torch.Tensor, out_dim: int = 0) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.ahead: torch.Tensor | None = None
        self.register_buffer('u', F.normalize(torch.randn(weight.shape[out_dim]), dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        w = self.as_matrix(weight)  # [O, I k k]
        # A copy of u, since the next forward changes the buffer while this graph may still be needed.
        u = self._next_u(w) if self.training else self.u.clone()
        return weight / torch.linalg.vector_norm(w.t() @ u)

    def as_matrix(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns a weight as the matrix [O, I k k]."""
        return weight.transpose(0, self.out_dim).flatten(1)

    @torch.no_grad()
    def _next_u(self, w: torch.Tensor) -> torch.Tensor:
        """Returns u after a power iteration with w [O, I k k], and updates the buffer."""
        u, self.ahead = self.ahead, None
        if u is None:
            v = F.normalize(w.t() @ self.u, dim=0)  # [I k k]
            u = F.normalize(w @ v, dim=0)
            self.u.copy_(u)
        return u


def iterate_together(net: torch.nn.Module, args: object) -> None:
    """Does the power iterations of all spectral norms of a network in training mode, if it is on a GPU.

    A network registers it as a forward pre-hook: the few launches of `power_iterations` replace nine per norm. On a CPU
    launches cost nothing, and every layer iterates for itself. A layer that runs twice in a pass of the network does so
    for its second run. Every normalized layer must run in every pass.

    Args:
        net: the network.
        args: arguments of its forward pass.
    """
    layers = [m for m in net.modules() if isinstance(m, (Conv2d, ConvTranspose2d, Linear))]
    pairs = [(m.sn, m.weight) for m in layers if m.sn is not None and m.sn.training]
    if pairs and pairs[0][1].device.type == 'cuda':
        power_iterations(pairs)


@torch.no_grad()
def power_iterations(pairs: Sequence[tuple[SpectralNorm, torch.Tensor]]) -> None:
    """Updates u of several norms, each with its weight, by a power iteration, which their next forward passes take."""
    norms = [norm for norm, _ in pairs]
    matrices = [norm.as_matrix(weight) for norm, weight in pairs]
    vs = _normalized_products([w.t() for w in matrices], [norm.u for norm in norms])
    us = _normalized_products(matrices, vs)
    torch._foreach_copy_([norm.u for norm in norms], us)
    for norm, u in zip(norms, us, strict=True):
        norm.ahead = u


def _normalized_products(matrices: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Returns the normalized product of each matrix and its vector; they are rows of one matrix, padded with zeros."""
    rows = matrices[0].new_zeros([len(matrices), max(map(len, matrices))])
    products = [row[: len(w)] for row, w in zip(rows, matrices, strict=True)]
    for product, w, x in zip(products, matrices, vectors, strict=True):
        torch.mv(w, x, out=product)
    rows.div_(rows.norm(dim=1, keepdim=True).clamp_min_(EPSILON))
    return products


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
