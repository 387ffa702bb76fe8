"""Padding, up-sampling, filtering and down-sampling of images: the specification in plain PyTorch, and its kernels.

Differentiable any number of times in the image; the filter is a constant. Letters: N batch, C channels, H and W height
and width; fh and fw height and width of the filter. Pairs are (x, y), paddings (x0, x1, y0, y1): left, right, top,
bottom, in pixels of the up-sampled image; negative values crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from torch_utils.ops import dispatch
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def setup_filter(
    f: torch.Tensor | Sequence[float] | float | None,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1,
    separable: bool | None = None,
) -> torch.Tensor:
    """Returns a float32 filter for `upfirdn2d`.

    Args:
        f: Taps [fw] or [fh, fw]; a scalar and None (= 1) are one tap.
        normalize: Whether to scale the taps to a sum of 1.
        flip_filter: Whether to reverse the taps.
        gain: Factor on the two-dimensional filter.
        separable: Whether 1-D taps remain one-dimensional, to be applied along x and then y. None: from 8 taps on.

    Returns:
        [fw] if separable, else [fh, fw].

    Raises:
        ValueError: If the taps have a wrong shape.
    """
    f = torch.as_tensor(1 if f is None else f, dtype=torch.float32)
    f = f.reshape(1) if f.ndim == 0 else f
    if f.ndim not in (1, 2) or f.numel() == 0:
        raise ValueError(f'setup_filter: f must hold one or two dimensions of taps, got shape {list(f.shape)}')
    if separable and f.ndim == 2:
        raise ValueError('setup_filter: separable=True needs one-dimensional taps')
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if f.ndim == 1 and not separable:
        f = f.outer(f)
    if normalize:
        f = f / f.sum()
    if flip_filter:
        f = f.flip(list(range(f.ndim)))
    scale: float = gain ** (f.ndim / 2)
    return f * scale


def upfirdn2d(
    x: torch.Tensor,
    f: torch.Tensor | None,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = 'auto',
) -> torch.Tensor:
    """Inserts up - 1 zeros after every pixel, pads, convolves with `gain * f`, and keeps every down-th pixel.

    Args:
        x: Images [N, C, H, W], any floating dtype and memory format.
        f: Filter [fh, fw], or [fw] to be applied along x and then y; None is the identity. No gradient flows into it.
        up: Factor of up-sampling, one number or (x, y).
        down: Factor of down-sampling, one number or (x, y).
        padding: One number, (x, y) or (x0, x1, y0, y1).
        flip_filter: True correlates, False convolves.
        gain: Factor on the result.
        impl: 'ref', 'cpu', 'cuda', or 'auto' for the fastest available.

    Returns:
        [N, C, (H * up + y0 + y1 - fh) // down + 1, (W * up + x0 + x1 - fw) // down + 1], dtype of `x`.

    Raises:
        ValueError: If an argument has a wrong shape, or the result is empty.
        ConfigError: If the implementation is not available.
    """
    (upx, upy), (downx, downy), (x0, x1, y0, y1) = _pair(up, 'up'), _pair(down, 'down'), _padding(padding)
    filter_: torch.Tensor = x.new_ones([1, 1], dtype=torch.float32) if f is None else f
    if x.ndim != 4 or filter_.ndim not in (1, 2):
        shape = list(filter_.shape)
        raise ValueError(f'upfirdn2d: x [N, C, H, W] and f [fw] or [fh, fw], got {list(x.shape)} and {shape}')
    _check_size(x, filter_size(filter_), (upx, upy), (x0, x1, y0, y1))
    impl = dispatch.pick(impl, x)

    def correlated() -> torch.Tensor:
        return filter_ if flip_filter else filter_.flip(list(range(filter_.ndim)))

    def for_kernel() -> torch.Tensor:
        taps = correlated()
        # Float64 holds the product of two float32 taps exactly: the kernel sees that the filter is separable.
        return taps * gain if taps.ndim == 2 else taps[:, None].double() * (taps * gain)

    if impl == 'cuda' and filter_.ndim == 1 and filter_.numel() > 4:
        # From 5 taps on, two passes over memory cost less than taps squared; up to 4, the kernel for 4 x 4 takes one.
        along_x = prepared_filter(filter_, f'along x {flip_filter}', gain, lambda: correlated() * gain)
        along_y = prepared_filter(filter_, f'along y {flip_filter}', 1, correlated)
        x = torch.ops.ganfoundry.upfirdn2d(x, along_x[None, :], (upx, 1), (downx, 1), (x0, x1, 0, 0))
        y: torch.Tensor = torch.ops.ganfoundry.upfirdn2d(x, along_y[:, None], (1, upy), (1, downy), (0, 0, y0, y1))
    elif impl != 'ref':
        taps = prepared_filter(filter_, f'for a kernel {flip_filter}', gain, for_kernel)
        y = torch.ops.ganfoundry.upfirdn2d(x, taps, (upx, upy), (downx, downy), (x0, x1, y0, y1))
    elif filter_.ndim == 2:
        y = _Upfirdn2d.apply(x, correlated() * gain, (upx, upy), (downx, downy), (x0, x1, y0, y1))
    else:
        taps = correlated()
        x = _Upfirdn2d.apply(x, taps[None, :] * gain, (upx, 1), (downx, 1), (x0, x1, 0, 0))
        y = _Upfirdn2d.apply(x, taps[:, None], (1, upy), (1, downy), (0, 0, y0, y1))
    return y


_PREPARED: MutableMapping[torch.Tensor, tuple[int, dict[tuple[str, float], torch.Tensor]]] = WeakTensorKeyDictionary()


def prepared_filter(f: torch.Tensor, form: str, gain: float, make: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Returns another form of a filter, which is computed once for all calls: it would cost a launch or two per call.

    Args:
        f: Filter of `setup_filter`; a change in place invalidates its forms.
        form: Name of the form.
        gain: Factor that the form includes.
        make: Function that computes it.
    """
    if torch.compiler.is_compiling() or f.is_inference():
        return make()
    version, forms = _PREPARED.get(f, (-1, {}))
    if version != f._version:
        forms = {}
        _PREPARED[f] = f._version, forms
    if (form, gain) not in forms:
        with torch.inference_mode(False), torch.no_grad():
            made = make()
        if type(made) is not type(f):  # a tracer's stand-in for numbers, which no later call may get
            return made
        forms[form, gain] = made
    return forms[form, gain]


def filter2d(
    x: torch.Tensor,
    f: torch.Tensor,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = 'auto',
) -> torch.Tensor:
    """Filters images at the same size.

    Args:
        x: Images [N, C, H, W], any floating dtype and memory format.
        f: Filter of `setup_filter`.
        padding: Pixels in addition to those of the filter: one number, (x, y) or (x0, x1, y0, y1).
        flip_filter: True correlates, False convolves.
        gain: Factor on the result.
        impl: As in `upfirdn2d`.

    Returns:
        [N, C, H, W] if `padding` is 0, dtype of `x`.
    """
    fw, fh = filter_size(f)
    x0, x1, y0, y1 = _padding(padding)
    p = [x0 + fw // 2, x1 + (fw - 1) // 2, y0 + fh // 2, y1 + (fh - 1) // 2]
    return upfirdn2d(x, f, padding=p, flip_filter=flip_filter, gain=gain, impl=impl)


def upsample2d(
    x: torch.Tensor,
    f: torch.Tensor,
    up: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = 'auto',
) -> torch.Tensor:
    """Up-samples images at the same brightness.

    Args:
        x: Images [N, C, H, W], any floating dtype and memory format.
        f: Filter of `setup_filter`.
        up: Factor, one number or (x, y).
        padding: Pixels in addition to those of the filter: one number, (x, y) or (x0, x1, y0, y1).
        flip_filter: True correlates, False convolves.
        gain: Factor on the result.
        impl: As in `upfirdn2d`.

    Returns:
        [N, C, H * up, W * up] if `padding` is 0, dtype of `x`.
    """
    fw, fh = filter_size(f)
    upx, upy = _pair(up, 'up')
    x0, x1, y0, y1 = _padding(padding)
    p = [x0 + (fw + upx - 1) // 2, x1 + (fw - upx) // 2, y0 + (fh + upy - 1) // 2, y1 + (fh - upy) // 2]
    return upfirdn2d(x, f, up=up, padding=p, flip_filter=flip_filter, gain=gain * upx * upy, impl=impl)


def downsample2d(
    x: torch.Tensor,
    f: torch.Tensor,
    down: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = 'auto',
) -> torch.Tensor:
    """Down-samples images.

    Args:
        x: Images [N, C, H, W], any floating dtype and memory format.
        f: Filter of `setup_filter`.
        down: Factor, one number or (x, y).
        padding: Pixels in addition to those of the filter: one number, (x, y) or (x0, x1, y0, y1).
        flip_filter: True correlates, False convolves.
        gain: Factor on the result.
        impl: As in `upfirdn2d`.

    Returns:
        [N, C, H // down, W // down] if `padding` is 0, dtype of `x`.
    """
    fw, fh = filter_size(f)
    downx, downy = _pair(down, 'down')
    x0, x1, y0, y1 = _padding(padding)
    p = [x0 + (fw - downx + 1) // 2, x1 + (fw - downx) // 2, y0 + (fh - downy + 1) // 2, y1 + (fh - downy) // 2]
    return upfirdn2d(x, f, down=down, padding=p, flip_filter=flip_filter, gain=gain, impl=impl)


def filter_size(f: torch.Tensor | None) -> Pair:
    """Returns (fw, fh) of a filter [fh, fw] or [fw]; None is one tap."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


class _Upfirdn2d(torch.autograd.Function):
    """The linear map of `upfirdn2d`. Its transpose is a map of the same kind, hence gradients of every order.

    `f` [fh, fw] is correlated with the image, gain included.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, f: torch.Tensor, up: Pair, down: Pair, padding: Padding) -> torch.Tensor:
        y = _forward(x, f, up, down, padding)
        ctx.save_for_backward(f)
        ctx.factors = up, down
        ctx.padding = _transposed_padding(x, f, y, up, down, padding)
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (f,) = ctx.saved_tensors
        up, down = ctx.factors
        return _Upfirdn2d.apply(dy, f.flip([0, 1]), down, up, ctx.padding), None, None, None, None


def _forward(x: torch.Tensor, f: torch.Tensor, up: Pair, down: Pair, padding: Padding) -> torch.Tensor:
    """Computes the map by depthwise convolutions.

    On CPUs they take 2 to 5 times as long as a copy; shifted sums and inserted zeros take longer. Arguments as in the
    class.
    """
    if up == (1, 1):
        kernel = f.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        x, shared = _pad_unevenly(x, padding)
        return F.conv2d(x, kernel, stride=(down[1], down[0]), padding=shared, groups=x.shape[1])
    # A transposed convolution inserts the zeros and filters in one go. It pads by f - 1 on every side, and lacks the
    # up - 1 zeros after the last pixel. It runs in float32: in lower precision oneDNN is 20 times slower.
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    kernel = f.flip([0, 1]).to(dtype).expand(x.shape[1], 1, -1, -1)
    x0, x1, y0, y1 = padding
    fh, fw = f.shape
    excess = (fw - 1 - x0, fw - up[0] - x1, fh - 1 - y0, fh - up[1] - y1)
    crop = (max(min(excess[2:]), 0), max(min(excess[:2]), 0))
    rest = [crop[1] - excess[0], crop[1] - excess[1], crop[0] - excess[2], crop[0] - excess[3]]
    y = F.conv_transpose2d(x.to(dtype), kernel, stride=(up[1], up[0]), padding=crop, groups=x.shape[1])
    y = F.pad(y, rest) if any(rest) else y
    return y[:, :, :: down[1], :: down[0]].to(x.dtype)


def _pad_unevenly(x: torch.Tensor, padding: Padding) -> tuple[torch.Tensor, Pair]:
    """Pads by the difference of opposite sides; returns the common (y, x) rest, which is free in a convolution."""
    x0, x1, y0, y1 = padding
    shared = (max(min(y0, y1), 0), max(min(x0, x1), 0))
    rest = [x0 - shared[1], x1 - shared[1], y0 - shared[0], y1 - shared[0]]
    return (F.pad(x, rest) if any(rest) else x), shared


def _transposed_padding(
    x: torch.Tensor, f: torch.Tensor, y: torch.Tensor, up: Pair, down: Pair, padding: Padding
) -> Padding:
    """Returns the padding with which `upfirdn2d(dy)`, up and down swapped and f reversed, is the transpose of x -> y.

    Args:
        x: Image [N, C, H, W].
        f: Filter [fh, fw].
        y: Result of the map.
        up: Factors (x, y).
        down: Factors (x, y).
        padding: Padding of the map.
    """
    fh, fw = f.shape
    return (
        fw - 1 - padding[0],
        x.shape[3] * up[0] - y.shape[3] * down[0] + padding[0] - up[0] + 1,
        fh - 1 - padding[2],
        x.shape[2] * up[1] - y.shape[2] * down[1] + padding[2] - up[1] + 1,
    )


def _check_size(x: torch.Tensor, taps: Pair, up: Pair, padding: Padding) -> None:
    """Raises ValueError if the filter, `taps` (fw, fh) large, does not fit into the padded image once."""
    width, height = x.shape[3] * up[0] + sum(padding[:2]), x.shape[2] * up[1] + sum(padding[2:])
    if width < taps[0] or height < taps[1]:
        raise ValueError(f'upfirdn2d: nothing is left of {list(x.shape)} with {up=}, {padding=}, {taps=}')


def _pair(value: int | Sequence[int], name: str) -> Pair:
    x, y = (value, value) if isinstance(value, int) else value
    if min(x, y) < 1:
        raise ValueError(f'upfirdn2d: {name} must be at least 1, got {value}')
    return x, y


def _padding(value: int | Sequence[int]) -> Padding:
    if isinstance(value, int):
        return value, value, value, value
    if len(value) == 2:
        return value[0], value[0], value[1], value[1]
    x0, x1, y0, y1 = value
    return x0, x1, y0, y1


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], f: torch.Tensor | None, **options: Any) -> Sample:
        f = None if f is None else f.to(device)
        return Sample(name=name, inputs={'x': sample_tensor(shape, device, dtype)}, options={'f': f, **options})

    low_pass = setup_filter([1, 3, 3, 1])  # the outer product of two one-dimensional filters
    general = torch.tensor([[1.0, 2, -3], [0.5, 4, 1]])  # not an outer product
    yield sample('up 2', [2, 2, 3, 4], low_pass, up=2, padding=(2, 1, 2, 1), gain=4)
    yield sample('down 2', [2, 2, 5, 6], low_pass, down=2, padding=1)
    yield sample('up and down, crop', [1, 2, 5, 4], low_pass, up=(2, 1), down=(1, 2), padding=(2, 1, -1, 3))
    yield sample('one-dimensional taps', [1, 2, 4, 5], setup_filter([1, 2, 3, 4, 5], separable=True), padding=2)
    yield sample('no outer product', [1, 2, 4, 5], general, padding=(1, 1, 1, 0), flip_filter=True)
    yield sample('identity', [1, 2, 3, 4], None)
    yield sample('zeros inserted, pixels dropped', [1, 2, 3, 4], None, up=3, down=2)
    yield sample('one pixel', [1, 1, 1, 1], low_pass, padding=2)
    yield sample('empty batch', [0, 2, 5, 6], low_pass, down=2, padding=1)


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    f = setup_filter([1, 3, 3, 1]).to(device)
    inputs = {'x': torch.randn(tuple(shape), device=device).to(dtype)}
    yield Sample(name='up 2', inputs=inputs, options={'f': f, 'up': 2, 'padding': (2, 1, 2, 1), 'gain': 4})
    yield Sample(name='down 2', inputs=inputs, options={'f': f, 'down': 2, 'padding': 1})
    yield Sample(name='same size', inputs=inputs, options={'f': f, 'padding': (2, 1, 2, 1)})


register_op(Op('upfirdn2d', upfirdn2d, _samples, operators=('upfirdn2d',), workloads=_workloads))
