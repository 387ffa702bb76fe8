"""StyleGAN2's convolution, whose kernel every sample scales by its own style, with the later steps of the layer.

Karras et al., Analyzing and Improving the Image Quality of StyleGAN, arXiv 1912.04958, section 2.2. Letters: N batch,
I and O input and output channels, H and W height and width, k kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torch_utils.ops import dispatch
from torch_utils.ops.conv2d_resample import conv2d_before_fir, conv2d_resample
from torch_utils.ops.epilogue import scale_channels, synthesis_epilogue
from torch_utils.ops.lowered_weights import Lowered, lower_weights
from torch_utils.ops.modulation import modulation
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor
from torch_utils.ops.upfirdn2d import setup_filter


def modulated_conv2d(
    x: torch.Tensor | Sequence[torch.Tensor],
    weight: torch.Tensor,
    styles: torch.Tensor,
    noise: torch.Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    resample_filter: torch.Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    gain: float = 1,
    bias: torch.Tensor | None = None,
    act: str = 'linear',
    clamp: float | None = None,
    by_sample: bool | None = None,
    lowered: Lowered | None = None,
) -> torch.Tensor:
    """Returns clip(gain * act(conv(x, s_i w_oikl) demodulated + noise + bias), -clamp, clamp).

    Except for small 1x1 kernels, no kernel is built per sample: scaling the input by s and the output by the
    demodulation is the same map. `synthesis_epilogue` computes the later steps, with the filter of an up-sampling.

    Args:
        x: Features [N, I, H, W], any floating dtype. A sequence of such tensors means `torch.cat(x, dim=1)` without
            making it: each part meets its own input channels of the weight, and the results are added.
        weight: Kernel [O, I, k, k], float32 (or the dtype of `x`).
        styles: Styles [N, I], dtype of `weight`.
        noise: Noise [N, 1, H', W'] or [H', W'], added to every output channel after demodulation; None: 0.
        up: As in `conv2d_resample`.
        down: As in `conv2d_resample`.
        padding: As in `conv2d_resample`.
        resample_filter: As `f` in `conv2d_resample`.
        demodulate: Whether to scale every output channel of every sample to unit expected variance.
        flip_weight: As in `conv2d_resample`.
        gain: As in `synthesis_epilogue`.
        bias: As in `synthesis_epilogue`, [O].
        act: As in `synthesis_epilogue`.
        clamp: As in `synthesis_epilogue`.
        by_sample: Whether to build a kernel per sample, for k = 1 without resampling and padding only; None: if faster.
        lowered: `weight` as `lower_weights` returns it for the dtype of `x`, with squares, normalized if that is
            float16; None: it is lowered here. Only for demodulated kernels that are not built by sample.

    Returns:
        [N, O, H', W'], dtype of `x`.
    """
    parts = [x] if isinstance(x, torch.Tensor) else x
    by_sample = _builds_kernels(by_sample, parts[0], weight, up, down, padding)
    d = None
    if demodulate:
        weight, styles, d = _demodulated(weight, styles, parts[0].dtype, by_sample, lowered)
    if (d is None or by_sample) and gain != 1:
        # act(g x) = g act(x): the gain moves to tensors that are smaller than the features.
        weight, gain, g = weight * gain, 1, gain
        noise, bias = (None if t is None else t * g for t in (noise, bias))
    if by_sample:
        y = _pointwise(parts, weight, styles, d)  # [N, O, H, W]
        return synthesis_epilogue(y, noise=noise, bias=bias, act=act, gain=gain, clamp=clamp)
    y, fir, fir_padding = _convolved(_scaled(parts, weight, styles), up, down, padding, resample_filter, flip_weight)
    return synthesis_epilogue(y, fir, fir_padding, d, noise, bias, act, gain=gain, clamp=clamp, fir_gain=up**2)


def _builds_kernels(
    by_sample: bool | None, x: torch.Tensor, weight: torch.Tensor, up: int, down: int, padding: int
) -> bool:
    """Returns whether to build a kernel per sample. Arguments as in `modulated_conv2d`; `x` is a part of the input."""
    is_pointwise = weight.shape[2] == weight.shape[3] == up == down == 1 and padding == 0
    assert is_pointwise or not by_sample, f'by_sample: weight {[*weight.shape]}, {up=}, {down=}, {padding=}'
    return is_pointwise and prefers_kernels(x, weight) if by_sample is None else by_sample


def _demodulated(
    weight: torch.Tensor, styles: torch.Tensor, dtype: torch.dtype, by_sample: bool, lowered: Lowered | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the weight for the convolution, the styles of its input, and the factor [N, O] of its result.

    On CUDA two kernels compute them, and one or two each gradient. On a CPU one lowers the weight, and the operations
    of the factor run one by one. Weight and styles are scaled if float16 could overflow otherwise; demodulation removes
    every such scale.

    Args:
        weight: Kernel [O, I, k, k].
        styles: Styles [N, I].
        dtype: Dtype of the features.
        by_sample: Whether the weight stays in its dtype, for kernels per sample.
        lowered: As in `modulated_conv2d`.
    """
    impl = 'auto' if dispatch.pick('auto', styles) == 'cuda' else 'ref'
    normalize = dtype == torch.float16
    if lowered is None:
        to = weight.dtype if by_sample else dtype
        (lowered,) = lower_weights([weight], [1], to, normalize=normalize, squares=True)
    assert lowered.squares is not None, 'demodulation needs the squares of the lowered weight'
    return lowered.weight, *modulation(styles, lowered.squares, styles.dtype, normalize, impl)


def demodulation(weight: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """Returns the factor [N, O] by which each sample's kernel has unit output variance for unit-variance input."""
    return modulation(styles, weight.square().sum([2, 3]), styles.dtype, impl='ref')[1]


def prefers_kernels(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Returns whether the 1x1 kernels of N samples are so small, compared with the image, that building them is faster.

    Measured for ToRGB, and by bench/rewrites.py for two inputs of O channels each.
    """
    return 8 * weight.shape[0] <= x.shape[2] * x.shape[3]


def _scaled(
    parts: Sequence[torch.Tensor], weight: torch.Tensor, styles: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns each part of the input, scaled by its styles, with its part of the weight, in the dtype of the input."""
    weight = weight.to(parts[0].dtype)
    if len(parts) == 1:  # no split, whose gradient would copy that of the weight
        return [(scale_channels(parts[0], styles), weight)]
    sizes = [part.shape[1] for part in parts]
    split = zip(parts, weight.split(sizes, dim=1), styles.split(sizes, dim=1), strict=True)
    return [(scale_channels(part, s), w) for part, w, s in split]


def _convolved(
    scaled: Sequence[tuple[torch.Tensor, torch.Tensor]],
    up: int,
    down: int,
    padding: int,
    resample_filter: torch.Tensor | None,
    flip_weight: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, Sequence[int]]:
    """Convolves every part of the input with its part of the weight, and adds the results.

    Args:
        scaled: Parts [N, I, H, W] and weights [O, I, k, k], of `_scaled`.
        up: As in `conv2d_resample`.
        down: As in `conv2d_resample`.
        padding: As in `conv2d_resample`.
        resample_filter: As `f` in `conv2d_resample`.
        flip_weight: As in `conv2d_resample`.

    Returns:
        The sum; the filter that remains to be applied, or None; its padding (x0, x1, y0, y1).
    """
    if up > 1 and down == 1 and scaled[0][1].shape[-1] > 1 and resample_filter is not None:
        before = [conv2d_before_fir(x, w, resample_filter, up, padding, flip_weight) for x, w in scaled]
        return _sum([y for y, _ in before]), resample_filter, before[0][1]
    terms = [conv2d_resample(x, w, resample_filter, up, down, padding, flip_weight) for x, w in scaled]
    return _sum(terms), None, (0, 0, 0, 0)  # [N, O, H', W']


def _sum(terms: list[torch.Tensor]) -> torch.Tensor:
    """Returns the sum, computed in place of the first term."""
    for term in terms[1:]:
        terms[0].add_(term)
    return terms[0]


def _pointwise(
    parts: Sequence[torch.Tensor], weight: torch.Tensor, styles: torch.Tensor, demod: torch.Tensor | None
) -> torch.Tensor:
    """Applies 1x1 kernels, one per sample, as matrix products, without a scaled copy of the input.

    Args:
        parts: Parts of the input, [N, I, H, W] together.
        weight: Kernel [O, I, 1, 1].
        styles: Styles [N, I].
        demod: Factor [N, O], or None.

    Returns:
        [N, O, H, W], dtype of the input.
    """
    n, _, h, w = parts[0].shape
    kernels = weight.flatten(1) * styles[:, None, :]  # [N, O, I]
    kernels = kernels if demod is None else kernels * demod[:, :, None]
    kernels = kernels.to(parts[0].dtype).transpose(1, 2)  # [N, I, O]
    # The gradient of a split copies, even that of a split into one.
    split = (kernels,) if len(parts) == 1 else kernels.split([part.shape[1] for part in parts], dim=1)
    first, *others = (part.permute(0, 2, 3, 1).reshape(n, h * w, -1) for part in parts)  # [N, H W, I]
    y: torch.Tensor = _Product.apply(first, split[0])  # [N, H W, O]
    for part, k in zip(others, split[1:], strict=True):
        y = y + _Product.apply(part, k)
    return y.reshape(n, h, w, -1).permute(0, 3, 1, 2)  # [N, O, H, W]


class _Product(torch.autograd.Function):
    """Matrix products x k of [N, P, I] and [N, I, O], all of whose gradients are laid out as P rows of I numbers.

    PyTorch's second derivative of a product returns the gradient of `x` transposed. For features that is NCHW, which
    the next operation has to copy.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, k)
        return x @ k  # [N, P, O]

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, k = ctx.saved_tensors
        dx = _Product.apply(dy, k.transpose(1, 2)) if ctx.needs_input_grad[0] else None  # [N, P, I]
        dk = _InnerProduct.apply(x, dy) if ctx.needs_input_grad[1] else None  # [N, I, O]
        return dx, dk


class _InnerProduct(torch.autograd.Function):
    """Matrix products x' y of [N, P, I] and [N, P, O]: the gradient of `_Product` with respect to `k`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, y)
        return (y.transpose(1, 2) @ x).transpose(1, 2)  # [N, I, O]; faster than x' y, because I is larger than O

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, y = ctx.saved_tensors
        dx = _Product.apply(y, g.transpose(1, 2)) if ctx.needs_input_grad[0] else None  # [N, P, I]
        dy = _Product.apply(x, g) if ctx.needs_input_grad[1] else None  # [N, P, O]
        return dx, dy


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    wide = torch.promote_types(dtype, torch.float32)

    def sample(name: str, shape: Sequence[int], side: int, noise: Sequence[int] = (), **options: Any) -> Sample:
        weight = sample_tensor([3, shape[1], side, side], device, wide, seed=1)
        inputs = {'x': sample_tensor(shape, device, dtype), 'weight': weight}
        inputs['styles'] = sample_tensor(shape[:2], device, wide, seed=2)
        if noise:
            inputs['noise'] = sample_tensor(noise, device, wide, seed=3)
        return Sample(name=name, inputs=inputs, options={'padding': side // 2, **options})

    f = setup_filter([1, 3, 3, 1]).to(device)
    yield sample('3x3', [2, 2, 3, 4], 3, [2, 1, 3, 4], act='lrelu', gain=1.4, clamp=1.0)
    yield sample('3x3 up 2', [2, 2, 2, 3], 3, [4, 6], up=2, resample_filter=f, act='lrelu')
    yield sample('3x3 down 2', [1, 2, 4, 4], 3, down=2, resample_filter=f)
    yield sample('1x1 by sample', [2, 2, 3, 4], 1, [3, 4], by_sample=True, act='lrelu')
    yield sample('1x1 not demodulated', [2, 2, 3, 4], 1, demodulate=False, by_sample=False)
    yield sample('one pixel', [1, 1, 1, 1], 3, up=2, resample_filter=f)
    yield sample('empty batch', [0, 2, 3, 4], 3, [3, 4], act='lrelu')


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c, h, w = shape
    f = setup_filter([1, 3, 3, 1]).to(device)
    x, styles = torch.randn(n, c, h, w, device=device).to(dtype), torch.randn(n, c, device=device)
    for name, size, options in (
        ('3x3', (c, c, 3, 3), {'padding': 1, 'noise': torch.randn(n, 1, h, w, device=device)}),
        ('3x3 up 2', (c, c, 3, 3), {'padding': 1, 'up': 2, 'resample_filter': f}),
        ('1x1 to RGB', (3, c, 1, 1), {'demodulate': False}),
    ):
        inputs = {'x': x, 'weight': torch.randn(size, device=device), 'styles': styles}
        yield Sample(name=name, inputs=inputs, options=options)


register_op(Op('modulated_conv2d', modulated_conv2d, _samples, workloads=_workloads))
