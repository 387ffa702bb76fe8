"""Styles and demodulation of a modulated convolution, with gradients of two orders in one or two kernels each.

Karras et al., Analyzing and Improving the Image Quality of StyleGAN, arXiv 1912.04958, section 2.2. Letters: N batch, I
and O input and output channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor


def modulation(
    styles: torch.Tensor,
    squares: torch.Tensor,
    dtype: torch.dtype,
    normalize: bool = False,
    impl: str = 'auto',
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the styles, cast, and the factor by which each sample's kernel has unit output variance.

    Eq. (3): 1 / sqrt(sum_ikl (s_i w_oikl)^2 + eps), the sum computed as s^2 @ (sum_kl w^2)^T: N * O * I products, while
    the scaled kernels would take N * O * I * k^2 numbers. Differentiable twice.

    Args:
        styles: s, [N, I] float32.
        squares: sum_kl w^2, [O, I] float32, as `lower_weights` computes it.
        dtype: Dtype of the returned styles.
        normalize: Whether to divide the styles of every sample by their largest magnitude, so that float16 cannot
            overflow. The factor removes that scale, which has no gradient.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available.

    Returns:
        Styles [N, I] in `dtype`, and factors [N, O] in float32.

    Raises:
        ConfigError: If the implementation is not available.
    """
    if dispatch.pick(impl, styles) != 'ref':
        low, d, _ = torch.ops.ganfoundry.modulation(styles, squares, dtype, normalize)
        return low, d
    if normalize:
        styles = styles / styles.detach().abs().amax(dim=1, keepdim=True)
    return styles.to(dtype), (styles.square() @ squares.t() + 1e-8).rsqrt()


def _modulated(x: torch.Tensor, styles: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Returns [x s, x_0 d] of features x [N, I], for the contract of operations; both results take part in it.

    Args:
        x: Features [N, I].
        styles: As in `modulation`.
        squares: As in `modulation`.
    """
    low, d = modulation(styles, squares, x.dtype)
    return torch.cat([x * low, x[:, :1] * d.to(x.dtype)], dim=1)


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, n: int) -> Sample:
        inputs = {'x': sample_tensor([n, 3], device, dtype)}
        inputs['styles'] = sample_tensor([n, 3], device, wide, seed=1)
        inputs['squares'] = sample_tensor([4, 3], device, wide, seed=2).abs()
        return Sample(name=name, inputs=inputs, options={})

    yield sample('two samples', 2)
    yield sample('empty batch', 0)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c = shape[:2]
    inputs = {'x': torch.randn(n, c, device=device).to(dtype), 'styles': torch.randn(n, c, device=device)}
    inputs['squares'] = torch.rand(c, c, device=device)
    yield Sample(name='one layer', inputs=inputs, options={})


register_op(
    Op(
        'modulation',
        _modulated,
        _samples,
        operators=('modulation', 'modulation_backward', 'modulation_second'),
        workloads=_workloads,
    )
)
