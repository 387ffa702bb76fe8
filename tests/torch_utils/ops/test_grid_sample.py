"""Tests of grid_sample against PyTorch's, and of its derivatives of every order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import ConfigError
from torch_utils.ops import grid_sample as module
from torch_utils.ops.grid_sample import grid_sample

IMPLS = ('aten', 'ref')


def pytorch(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(x, grid, mode='bilinear', padding_mode='zeros', align_corners=False)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def places(n: int, h: int, w: int, size: tuple[int, int], seed: int = 1) -> torch.Tensor:
    """Returns a grid [N, h, w, 2] within and beyond an image of `size`, away from the centers of pixels."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor([size[1], size[0]], dtype=torch.float64)
    square = (torch.rand(n, h, w, 2, dtype=torch.float64, generator=generator) * (counts + 4) - 3).floor()
    pixel = square + 0.1 + 0.8 * torch.rand(n, h, w, 2, dtype=torch.float64, generator=generator)
    return ((2 * pixel + 1) / counts - 1).requires_grad_()


@pytest.mark.parametrize('impl', IMPLS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
       st.tuples(st.integers(1, 9), st.integers(1, 9)), st.booleans())  # fmt: skip
def test_values_and_first_gradients_are_pytorchs(impl: str, shape: tuple, out: tuple, last: bool) -> None:
    x, grid = rand(*shape), places(shape[0], *out, shape[2:])
    x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_() if last else x
    y, expected = grid_sample(x, grid, impl), pytorch(x, grid)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    dy = rand(*expected.shape, seed=2).detach()
    for create_graph in (False, True):
        results = [torch.autograd.grad(v, [x, grid], dy, True, create_graph and v is y) for v in (y, expected)]
        for actual, wanted in zip(*results, strict=True):
            torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize('impl', IMPLS)
def test_places_at_pixels_centres_edges_and_far_away_are_pytorchs(impl: str) -> None:
    """At the border of two squares, the derivative is that of the right and lower one."""
    x = rand(1, 2, 4, 5)
    ticks = torch.tensor([-1e30, -1.2, -1, -0.75, -0.25, 0, 0.6, 0.8, 1, 1.2, 3, 1e30], dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)[None, None].requires_grad_()
    y, expected = grid_sample(x, grid, impl), pytorch(x, grid)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    near = (grid.abs() < 10).all(dim=3)[:, None]
    gradients = (torch.autograd.grad((v * near).sum(), [x, grid]) for v in (y, expected))
    for actual, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('in_grid', [False, True])
def test_derivatives_of_three_orders_are_those_of_finite_differences(impl: str, in_grid: bool) -> None:
    x, grid = rand(2, 2, 3, 4), places(2, 2, 3, (3, 4)).detach().requires_grad_(in_grid)
    inputs = (x, grid)

    def op(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return grid_sample(x, grid, impl)

    def gradient(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """Returns the gradients that R1 needs, and those of the grid if it has one."""
        wanted = [x, grid] if in_grid else [x]
        return torch.cat(
            [d.flatten() for d in torch.autograd.grad((op(x, grid) ** 3).sum(), wanted, create_graph=True)]
        )

    assert gradcheck(op, inputs)
    assert gradgradcheck(op, inputs)
    assert gradgradcheck(gradient, inputs)


def test_r1_through_a_transform_has_the_gradient_of_the_gathers() -> None:
    """The penalty on the gradient of a later layer, which trains an earlier one: ADA's use."""
    x, grid = rand(2, 3, 8, 8), places(2, 8, 8, (8, 8)).detach()
    weight = rand(3, 3, 3, 3, seed=3)

    def penalty(impl: str) -> torch.Tensor:
        logits = F.conv2d(grid_sample(x, grid, impl), weight).tanh().sum([1, 2, 3])
        (dx,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), weight)[0]

    expected = penalty('ref')
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(penalty('aten'), expected, rtol=1e-12, atol=1e-12)


def test_a_grid_of_pixel_centres_is_the_identity_and_one_that_is_turned_turns() -> None:
    x = torch.randn(2, 3, 4, 4)
    centers = (torch.arange(4) * 2 + 1) / 4 - 1
    grid = torch.stack(torch.meshgrid(centers, centers, indexing='xy'), dim=-1).expand(2, -1, -1, -1)
    for impl in IMPLS:
        torch.testing.assert_close(grid_sample(x, grid, impl), x)
        torch.testing.assert_close(grid_sample(x, grid.flip(1), impl), x.flip(2))
        torch.testing.assert_close(grid_sample(x, -grid, impl), x.flip([2, 3]))


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_sampled_in_float32_and_rounded_once(impl: str, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 16, 16).to(dtype).requires_grad_()
    grid = places(2, 9, 9, (16, 16)).detach().float()
    y = grid_sample(x, grid, impl)
    assert y.dtype == dtype
    wide = x.detach().float().requires_grad_()
    expected = pytorch(wide, grid)
    torch.testing.assert_close(y.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.dtype == dtype
    torch.testing.assert_close(dx.float(), torch.autograd.grad(expected.sum(), wide)[0], rtol=1e-2, atol=1e-3)


def test_what_cannot_work_is_refused_with_what_was_expected() -> None:
    x, grid = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 7, 2)
    for wrong_x, wrong_grid in ((x[0], grid), (x, grid[:1]), (x, grid[..., :1]), (x, grid[0])):
        with pytest.raises(ValueError, match=r"expected x \[N, C, H, W\] and grid \[N, H', W', 2\], got"):
            grid_sample(wrong_x, wrong_grid)
    with pytest.raises(ValueError, match='at least one channel and one pixel'):
        grid_sample(x[..., :0], grid)
    with pytest.raises(ValueError, match=r'grid in torch.float32 with it, got torch.bfloat16 and torch.bfloat16'):
        grid_sample(x.bfloat16(), grid.bfloat16())
    with pytest.raises(ValueError, match=r'grid in torch.float64 with it, got torch.float64 and torch.float32'):
        grid_sample(x.double(), grid)
    with pytest.raises(ValueError, match='expected a floating x'):
        grid_sample(x.int(), grid)
    with pytest.raises(ConfigError, match="impl='cpu': choose auto, ref, aten"):
        grid_sample(x, grid, 'cpu')


def test_gradients_in_a_fixed_order_are_pytorchs_without_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU runs the form that a GPU runs under --deterministic."""
    x, grid = rand(2, 3, 4, 5), places(2, 6, 3, (4, 5))
    y, expected = grid_sample(x, grid), pytorch(x, grid)
    dy = rand(*expected.shape, seed=2).detach()
    wanted = torch.autograd.grad(expected, [x, grid], dy)

    def refuse(*args: object) -> None:
        raise RuntimeError('grid_sampler_2d_backward_cuda does not have a deterministic implementation')

    monkeypatch.setattr(module, 'needs_fixed_order', lambda x: True)
    monkeypatch.setattr(module, '_aten_gradients', refuse)
    for actual, gradient in zip(torch.autograd.grad(y, [x, grid], dy), wanted, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=0, atol=1e-12)
    assert gradcheck(grid_sample, [x, grid])
    assert gradgradcheck(grid_sample, [x, grid])
