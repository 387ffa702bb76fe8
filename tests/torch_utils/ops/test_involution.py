"""Tests of involution against its definition, with exact gradients of every order, in plain PyTorch and in C++."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import ConfigError
from tests.support.operations import (
    LOADED,
    SETTINGS,
    assert_close,
    assert_same_bits,
    dtypes,
    image,
    layouts,
    needs_kernels,
)
from torch_utils.ops.involution import involution

IMPLS = ('ref', pytest.param('cpu', marks=pytest.mark.skipif(not LOADED, reason='no native operations')))
OPERATORS = ('involution', 'involution_adjoint', 'involution_correlation')
SIZES = ([2, 6, 5, 7], [1, 6, 1, 9], [2, 6, 4, 2], [1, 6, 2, 2], [3, 6, 1, 1])  # [N, C, H, W]


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def by_unfolding(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns the definition with all neighborhoods written out: K * K times the memory of x."""
    n, c, h, w = x.shape
    num_groups, num_taps = weight.shape[1:3]
    side = round(num_taps**0.5)
    neighbors = F.unfold(x, side, padding=side // 2).view(n, num_groups, c // num_groups, num_taps, h, w)
    return (neighbors * weight.unsqueeze(2)).sum(3).view(n, c, h, w)


def penalty(f, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Returns (|df/dx| - 1)^2, the penalty of WGAN-GP."""
    (dx,) = torch.autograd.grad(f(x, weight).square().sum(), x, create_graph=True)
    return (dx.flatten(1).norm(dim=1) - 1).square().sum()


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('side', [1, 3, 5, 7])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('num_groups', [1, 3])
def test_values_and_gradients_are_those_of_unfolding(impl: str, side: int, size: list[int], num_groups: int) -> None:
    """Includes images narrower and lower than the kernel, and the second order of a gradient penalty."""
    x, weight = rand(*size), rand(size[0], num_groups, side**2, *size[2:], seed=1)
    f = lambda x, weight: involution(x, weight, impl)  # noqa: E731
    y, expected = f(x, weight), by_unfolding(x, weight)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    dy = rand(*size, seed=2).detach()
    pairs = zip(*(torch.autograd.grad(v, [x, weight], dy) for v in (y, expected)), strict=True)
    for actual, wanted in pairs:
        torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-12)
    pairs = zip(*(torch.autograd.grad(penalty(g, x, weight), [x, weight]) for g in (f, by_unfolding)), strict=True)
    for actual, wanted in pairs:
        torch.testing.assert_close(actual, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('side', [1, 3])
def test_gradients_of_three_orders_are_those_of_finite_differences(impl: str, side: int) -> None:
    x, weight = rand(1, 4, 2, 3), rand(1, 2, side**2, 2, 3, seed=1)
    v, u = rand(1, 4, 2, 3, seed=2), rand(1, 4, 2, 3, seed=3)

    def op(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return involution(x, weight, impl)

    def second(x: torch.Tensor, weight: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns a derivative of second order, itself of third degree in x."""
        (dx,) = torch.autograd.grad((op(x, weight) ** 3).sum(), x, v.sum(), create_graph=True)
        return torch.autograd.grad((dx * u).sum(), weight, create_graph=True)[0]

    assert gradcheck(op, (x, weight))
    assert gradgradcheck(op, (x, weight))
    assert gradcheck(second, (x, weight, v))


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('side', [1, 3, 7])
def test_a_kernel_of_one_at_its_centre_is_the_identity(impl: str, side: int) -> None:
    x, weight = torch.randn(2, 6, 5, 4), torch.zeros(2, 3, side**2, 5, 4)
    weight[:, :, side**2 // 2] = 1
    assert torch.equal(involution(x, weight, impl), x)


@pytest.mark.parametrize('impl', IMPLS)
@pytest.mark.parametrize('side', [1, 3, 5])
def test_equal_kernels_everywhere_are_a_depthwise_convolution(impl: str, side: int) -> None:
    x, kernel = rand(2, 6, 5, 7), rand(3, side**2, seed=1)  # [G, K * K]
    weight = kernel[None, :, :, None, None].expand(2, -1, -1, 5, 7)
    filters = kernel.view(3, 1, side, side).repeat_interleave(2, dim=0)
    expected = F.conv2d(x, filters, padding=side // 2, groups=6)
    torch.testing.assert_close(involution(x, weight, impl), expected, rtol=0, atol=1e-12)


def test_only_the_gradients_that_are_asked_for_are_computed() -> None:
    x, weight = rand(1, 4, 3, 3), rand(1, 2, 9, 3, 3, seed=1)
    for impl in ('ref', *(['cpu'] if LOADED else [])):
        for inputs in ((x.detach(), weight), (x, weight.detach())):
            y = involution(*inputs, impl)
            assert len([t for t in y.grad_fn.next_functions if t[0]]) == 1
            y.sum().backward()
    assert x.grad is not None
    assert weight.grad is not None


@pytest.mark.parametrize('impl', IMPLS)
def test_the_result_has_the_dtype_and_the_memory_format_of_x(impl: str) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, 6, 4, 5).to(dtype=dtype, memory_format=memory_format).requires_grad_()
            y = involution(x, torch.randn(2, 2, 9, 4, 5).to(dtype), impl)
            (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
            for t in (y, dx):
                assert t.dtype == dtype
                assert t.is_contiguous(memory_format=memory_format)


@needs_kernels
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_the_weights_has_the_memory_format_of_x(memory_format: torch.memory_format) -> None:
    """A convolution that makes weights from features in NHWC then copies no gradient."""
    x = torch.randn(2, 6, 4, 5).contiguous(memory_format=memory_format)
    weight = torch.randn(2, 2, 9, 4, 5).requires_grad_()
    (dw,) = torch.autograd.grad(involution(x, weight, 'cpu').sum(), weight)
    meta = torch.ops.ganfoundry.involution_correlation(x.to('meta'), x.to('meta'), 2, 9)
    assert meta.stride() == dw.stride()
    assert dw.flatten(1, 2).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single_precision(dtype: torch.dtype) -> None:
    """49 products rounded at every step would be off by far more than the result's own rounding."""
    x, weight = rand(1, 16, 6, 6).to(dtype), rand(1, 1, 49, 6, 6, seed=1).to(dtype)
    expected = by_unfolding(x.double(), weight.double())
    for impl in ('ref', *(['cpu'] if LOADED and dtype == torch.bfloat16 else [])):
        y = involution(x, weight, impl).double()
        assert bool(((y - expected).abs() <= torch.finfo(dtype).eps * expected.abs() + 1e-5).all())


def test_what_cannot_work_is_refused_with_what_was_expected() -> None:
    x, weight = torch.zeros(2, 6, 4, 5), torch.zeros(2, 3, 9, 4, 5)
    with pytest.raises(ValueError, match=r'expected x \[N, C, H, W\] and weight \[N, G, K \* K, H, W\], got'):
        involution(x[0], weight)
    with pytest.raises(ValueError, match=r'must be K \* K for an odd K \(1, 9, 25, 49 ...\), got 16'):
        involution(x, torch.zeros(2, 3, 16, 4, 5))
    with pytest.raises(ValueError, match='got 0'):
        involution(x, weight[:, :, :0])
    with pytest.raises(ValueError, match=r'weight must be \[2, G, K \* K, 4, 5\] for x \[2, 6, 4, 5\], got'):
        involution(x, weight.mT)
    with pytest.raises(ValueError, match='must divide the 6 channels of x, got 4'):
        involution(x, torch.zeros(2, 4, 9, 4, 5))
    with pytest.raises(ValueError, match=r'dtype of x, torch.float32, got torch.float64'):
        involution(x, weight.double())
    with pytest.raises(ConfigError, match="impl='fast': choose auto"):
        involution(x, weight, 'fast')


@needs_kernels
@pytest.mark.parametrize('name', OPERATORS)
def test_operators_called_directly_refuse_what_they_cannot_read(name: str) -> None:
    """Kernels read memory by these shapes, so every caller is checked."""
    op, x = getattr(torch.ops.ganfoundry, name), torch.zeros(2, 6, 4, 5)
    if name == 'involution_correlation':
        wrong = {
            'one shape, type': (x, x[1:], 3, 9),
            'odd K': (x, x, 3, 8),
            'groups that divide': (x, x, 4, 9),
        }
    else:
        wrong = {
            r'expected weights \[2': (x, torch.zeros(1, 3, 9, 4, 5)),
            'odd K': (x, torch.zeros(2, 3, 4, 4, 5)),
            "images' type and device": (x, torch.zeros(2, 3, 9, 4, 5).double()),
            r'\[N, G, K': (x, x),
        }
    for message, args in wrong.items():
        with pytest.raises(ValueError, match=message):
            op(*args)
    with pytest.raises(TypeError, match='the CPU kernel takes float32'):
        op(x.half(), *((x.half(), 3, 9) if name == 'involution_correlation' else (torch.zeros(2, 3, 9, 4, 5).half(),)))


@needs_kernels
@SETTINGS
@given(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 5)),
    st.tuples(*[st.integers(1, 40)] * 2),
    st.sampled_from([1, 3, 5, 7]),
    dtypes,
    layouts,
    st.sampled_from(['contiguous', 'channels_last', 'expanded']),
)
def test_kernels_equal_the_reference_with_gradients(counts, size, side, dtype, layout, weight_layout) -> None:
    """The kernels against the reference in float64: bfloat16 then differs by its own rounding only."""
    n, num_groups, members = counts
    x = image((n, num_groups * members, *size), dtype, layout, seed=1)
    weight = image((n, num_groups * side**2, *size), dtype, weight_layout, seed=2)
    weight = weight.detach().unflatten(1, (num_groups, side**2)).requires_grad_()
    inputs, wide = (x, weight), [t.detach().double().requires_grad_() for t in (x, weight)]
    y, expected = involution(*inputs, impl='cpu'), involution(*wide, impl='ref')
    assert_close(y, expected.to(dtype))
    dy = image(tuple(x.shape), dtype, layout, seed=3)
    first = torch.autograd.grad(y, inputs, dy, create_graph=True)
    wide_dy = dy.detach().double().requires_grad_()
    expected_first = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    for actual, wanted in zip(first, expected_first, strict=True):
        assert_close(actual, wanted.to(dtype))
    second = torch.autograd.grad(first, (*inputs, dy), first)
    # The same inputs as the kernels had, so that only the rounding of the second order is compared.
    same = [t.detach().double() for t in first]
    for actual, wanted in zip(second, torch.autograd.grad(expected_first, (*wide, wide_dy), same), strict=True):
        assert_close(actual, wanted.to(dtype))


@needs_kernels
@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    x, weight = torch.randn(2, 32, 40, 41).requires_grad_(), torch.randn(2, 2, 25, 40, 41).requires_grad_()

    def run() -> list[torch.Tensor]:
        y = involution(x, weight, impl='cpu')
        return [y.detach(), *torch.autograd.grad(y, [x, weight], y)]

    assert_same_bits(run, num_threads)


# PyTorch's own warning about a Function in torch.compile.
@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning')
def test_compile_and_export_see_one_graph_of_the_reference() -> None:
    class Layer(torch.nn.Module):
        def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return involution(x * 2, weight, 'ref')

    x, weight = rand(2, 4, 5, 3), rand(2, 2, 9, 5, 3, seed=1)
    eager, compiled = Layer()(x, weight), torch.compile(Layer(), backend='aot_eager', fullgraph=True)(x, weight)
    assert torch.equal(compiled, eager)
    gradients = [torch.autograd.grad(y.square().sum(), [x, weight]) for y in (eager, compiled)]
    assert all(torch.equal(a, e) for a, e in zip(*gradients, strict=True))
    exported = torch.export.export(Layer(), (x.detach(), weight.detach()))
    assert torch.equal(exported.module()(x, weight), eager)


@needs_kernels
def test_a_number_that_is_none_stays_within_its_neighbourhood() -> None:
    """The kernels' workspace is contiguous across rows and planes."""
    x, weight = torch.randn(1, 6, 9, 5), torch.randn(1, 2, 9, 9, 5)
    x[0, 1, 4, 4] = float('nan')
    weight[0, 1, :, 0, 4] = float('nan')
    leaves = [t.requires_grad_() for t in (x, weight)]
    results = []
    for impl in ('ref', 'cpu'):
        y = involution(*leaves, impl)
        results.append([y, *torch.autograd.grad(y, leaves, torch.ones_like(y))])
    for a, b in zip(*results, strict=True):
        assert bool(b.isnan().any())
        assert torch.equal(a.isnan(), b.isnan())
