"""Samples of an image between its pixels: the specification in plain PyTorch, and PyTorch's own kernels.

`F.grid_sample` with bilinear weights, zeros outside the image and pixels as areas (align_corners=False). PyTorch's
version has a first derivative only. This one has derivatives of every order, so that a gradient penalty can pass
through geometric augmentations. With S(x, p) the samples of x at the places p,

    T(y, p): the transpose of S in x, which adds each sample's weight to its source pixels
    D(y, x, p): the gradient of <y, S(x, p)> in p

S is linear in x, T in y, D in both. Gradients of S are T and D, those of T are S and D: PyTorch's kernels give
derivatives of every order in x and y. Derivatives of D, which second derivatives in the places need, come from autograd
through gathers. T and D do, too, on CUDA under --deterministic: PyTorch's kernel for them adds in no fixed order, its
gradient of a gather does.

Letters: N batch, C channels, H and W height and width, P number of places.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from dnnlib.errors import ConfigError
from torch_utils.devices import needs_fixed_order
from torch_utils.ops.registry import Op, Sample, register_op, sample_tensor

IMPLS = ('auto', 'ref', 'aten')
BILINEAR, ZEROS = 0, 0  # interpolation and padding modes, as aten numbers them


def grid_sample(x: torch.Tensor, grid: torch.Tensor, impl: str = 'auto') -> torch.Tensor:
    """Samples `x` bilinearly at the places `grid`; zero outside the image.

    Args:
        x: Images [N, C, H, W], any floating dtype. float16 and bfloat16 are sampled in float32.
        grid: Places [N, H', W', 2] as (x, y), float64 if `x` is float64, else float32; -1 and 1 are the outer edges of
            the first and the last pixel.
        impl: 'aten' for PyTorch's kernels, 'ref' for gathers, which are slower; 'auto' is 'aten'.

    Returns:
        [N, C, H', W'], dtype of `x`. Differentiable any number of times in both; derivatives in `grid` are those of the
        pixel square that contains the place, as in PyTorch. On CUDA the gradient in `x` is summed in no fixed order,
        unless torch.use_deterministic_algorithms is on.

    Raises:
        ValueError: If an argument has a wrong shape or dtype.
        ConfigError: If the implementation is unknown.
    """
    _check(x, grid)
    if impl not in IMPLS:
        raise ConfigError(f'grid_sample: impl={impl!r}: choose {", ".join(IMPLS)}')
    wide = x.to(grid.dtype)
    y = _gathered(wide, grid) if impl == 'ref' else _Sample.apply(wide, grid)
    return y.to(x.dtype)


class Corners(NamedTuple):
    """The four pixels around each place, and the position of the place between them."""

    values: list[list[torch.Tensor]]  # [row][column] of [N, C, P], zero outside the image
    tx: torch.Tensor  # [N, 1, P], from 0 at the left pixel to 1 at the right one
    ty: torch.Tensor  # [N, 1, P], from 0 at the upper pixel to 1 at the lower one


def _corners(x: torch.Tensor, grid: torch.Tensor) -> Corners:
    """Returns the pixels around the places."""
    h, w = x.shape[2:]
    places = grid.flatten(1, 2)[:, None]  # [N, 1, P, 2]
    px, py = ((places[..., 0] + 1) * w - 1) / 2, ((places[..., 1] + 1) * h - 1) / 2  # pixel i's center is at i
    left, top = px.detach().floor(), py.detach().floor()
    pixels = x.flatten(2)  # [N, C, H * W]

    def value(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
        index = row.long().clamp(0, h - 1) * w + column.long().clamp(0, w - 1)
        return pixels.gather(2, index.expand(-1, x.shape[1], -1)) * inside

    return Corners([[value(top + i, left + j) for j in (0, 1)] for i in (0, 1)], px - left, py - top)


def _gathered(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Returns S(x, grid)."""
    ((v00, v01), (v10, v11)), tx, ty = _corners(x, grid)
    y = (1 - ty) * ((1 - tx) * v00 + tx * v01) + ty * ((1 - tx) * v10 + tx * v11)
    sampled: torch.Tensor = y.unflatten(2, grid.shape[1:3])
    return sampled


def _grid_gradient(y: torch.Tensor, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Returns D(y, x, grid), itself differentiable."""
    if not (torch.is_grad_enabled() or needs_fixed_order(x)):
        return _aten_gradients(y, x, grid, (False, True))[1]
    (row0, row1), tx, ty = _corners(x, grid)
    y = y.flatten(2)
    a00, a01, a10, a11 = ((y * v).sum(1, keepdim=True) for v in (*row0, *row1))  # [N, 1, P]
    dx = (1 - ty) * (a01 - a00) + ty * (a11 - a10)
    dy = (1 - tx) * (a10 - a00) + tx * (a11 - a01)
    columns = torch.cat([dx * (x.shape[3] / 2), dy * (x.shape[2] / 2)], dim=1)  # [N, 2, P]
    gradient: torch.Tensor = columns.mT.unflatten(1, grid.shape[1:3])  # [N, H', W', 2]
    return gradient


class _Sample(torch.autograd.Function):
    """S(x, grid)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.size = x.shape
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, grid)
        y: torch.Tensor = torch.ops.aten.grid_sampler_2d(x, grid, BILINEAR, ZEROS, False)
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, grid = ctx.saved_tensors
        needs_x, needs_grid = ctx.needs_input_grad
        return (
            _Scatter.apply(dy, grid, ctx.size) if needs_x else None,
            _grid_gradient(dy, x, grid) if needs_grid else None,
        )


class _Scatter(torch.autograd.Function):
    """T(y, grid), as images [N, C, H, W] of `size`."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, grid: torch.Tensor, size: torch.Size) -> torch.Tensor:
        ctx.save_for_backward(y if ctx.needs_input_grad[1] else None, grid)
        if needs_fixed_order(y):
            return _scattered(y, grid, size)
        blank = y.new_zeros([1, 1, 1, 1]).expand(size)  # aten reads the size of this image; its values only for D
        return _aten_gradients(y, blank, grid, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, dx: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        y, grid = ctx.saved_tensors
        needs_y, needs_grid, _ = ctx.needs_input_grad
        return (
            _Sample.apply(dx, grid) if needs_y else None,
            _grid_gradient(y, dx, grid) if needs_grid else None,
            None,
        )


def _scattered(y: torch.Tensor, grid: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Returns T(y, grid), as images [N, C, H, W] of `size`: the gradient of the gathers in the image."""
    with torch.enable_grad():
        x = y.new_zeros(size).requires_grad_()
        (gradient,) = torch.autograd.grad(_gathered(x, grid.detach()), x, y.detach())
    return gradient


def _aten_gradients(
    y: torch.Tensor, x: torch.Tensor, grid: torch.Tensor, wanted: tuple[bool, bool]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (T, D); those that are not wanted are undefined.

    Args:
        y: Gradient of the samples [N, C, H', W'].
        x: Images [N, C, H, W].
        grid: Places [N, H', W', 2].
        wanted: Whether T and D are wanted.
    """
    dx, dgrid = torch.ops.aten.grid_sampler_2d_backward(y, x, grid, BILINEAR, ZEROS, False, wanted)
    return dx, dgrid


def _check(x: torch.Tensor, grid: torch.Tensor) -> None:
    """Raises ValueError if the shapes or dtypes do not fit together."""
    if x.ndim != 4 or grid.ndim != 4 or grid.shape[0] != x.shape[0] or grid.shape[3] != 2:
        raise ValueError(
            f"grid_sample: expected x [N, C, H, W] and grid [N, H', W', 2], got {list(x.shape)} and {list(grid.shape)}"
        )
    if min(x.shape[1:]) < 1:
        raise ValueError(f'grid_sample: expected x with at least one channel and one pixel, got {list(x.shape)}')
    # Places in half precision would be off by a pixel in images of 256 pixels or more.
    expected = torch.float64 if x.dtype == torch.float64 else torch.float32
    if not x.is_floating_point() or grid.dtype != expected:
        raise ValueError(
            f'grid_sample: expected a floating x, and grid in {expected} with it, got {x.dtype} and {grid.dtype}'
        )


def _samples(device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    def sample(name: str, shape: Sequence[int], size: Sequence[int]) -> Sample:
        """Returns places within and beyond the image, away from the centers of pixels, where derivatives jump."""
        n, _, h, w = shape
        generator = torch.Generator().manual_seed(1)
        counts = torch.tensor([w, h], dtype=torch.float64)
        square = (torch.rand(n, *size, 2, dtype=torch.float64, generator=generator) * (counts + 4) - 3).floor()
        pixel = square + 0.1 + 0.8 * torch.rand(n, *size, 2, dtype=torch.float64, generator=generator)
        grid = ((2 * pixel + 1) / counts - 1).to(device, torch.promote_types(dtype, torch.float32))
        return Sample(name=name, inputs={'x': sample_tensor(shape, device, dtype), 'grid': grid}, options={})

    yield sample('within and beyond', [2, 2, 3, 4], [2, 3])
    yield sample('one pixel', [1, 2, 1, 1], [2, 2])
    yield sample('empty batch', [0, 3, 4, 5], [2, 6])


def _workloads(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Iterator[Sample]:
    n, c, h, w = shape
    grid = torch.rand(n, h, w, 2, device=device, dtype=torch.promote_types(dtype, torch.float32)) * 2 - 1
    inputs = {'x': torch.randn(n, c, h, w, device=device).to(dtype), 'grid': grid}
    yield Sample(name='random places', inputs=inputs, options={})


register_op(
    Op(
        'grid_sample',
        grid_sample,
        _samples,
        reference=functools.partial(grid_sample, impl='ref'),
        workloads=_workloads,
    )
)
