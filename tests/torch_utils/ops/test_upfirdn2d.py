"""Tests of upfirdn2d: official values, its definition, and its CPU kernel against the reference."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from tests.support.operations import (
    NUM_CASES,
    SETTINGS,
    assert_close,
    assert_equal,
    assert_same_bits,
    dtypes,
    image,
    images,
    layouts,
    load_golden,
    needs_kernels,
    rand,
    sum_of_mirror_images,
)  # fmt: skip
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.upfirdn2d import downsample2d, filter2d, prepared_filter, setup_filter, upfirdn2d, upsample2d

TAPS = ([1], [1, 1], [1, 3, 3, 1], [1, 2, 3, 4, 5], list(range(1, 13)), [(-1) ** k / (k + 1) for k in range(32)])
pairs = st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))


@pytest.mark.parametrize('case', range(NUM_CASES['upfirdn2d']))
def test_upfirdn2d_reproduces_official_values_and_gradient(case: int) -> None:
    t, args = load_golden('upfirdn2d', case)
    x = t['x'].requires_grad_()
    y = upfirdn2d(x, t.get('f'), **args)
    assert_equal(y, t['y'])
    assert_equal(torch.autograd.grad(y, x, t['dy'])[0], t['dx'])


def plain_upfirdn2d(x: torch.Tensor, f: torch.Tensor, up: list, down: list, pad: list) -> torch.Tensor:
    """Returns the definition, written out: zeros after every pixel, padding, convolution, every down-th pixel."""
    n, c, h, w = x.shape
    y = x.new_zeros([n, c, h * up[1], w * up[0]])
    y[:, :, :: up[1], :: up[0]] = x
    y = F.pad(y, pad)
    y = F.conv2d(y.reshape(n * c, 1, *y.shape[2:]), f.flip([0, 1])[None, None])
    return y.reshape(n, c, *y.shape[2:])[:, :, :: down[1], :: down[0]]


@pytest.mark.parametrize('up', [[1, 1], [2, 2], [3, 1], [1, 4]])
@pytest.mark.parametrize('down', [[1, 1], [2, 2], [1, 3]])
@pytest.mark.parametrize('pad', [[0, 0, 0, 0], [2, 1, 2, 1], [5, 0, -1, 6], [-1, -2, 7, 3], [1, 4, 4, 1]])
def test_upfirdn2d_is_its_definition(up: list, down: list, pad: list) -> None:
    x, f = rand(2, 3, 7, 8), rand(4, 3, seed=1, grad=False)
    y, expected = upfirdn2d(x, f, up, down, pad), plain_upfirdn2d(x, f, up, down, pad)
    assert_equal(y, expected)
    dy = rand(*y.shape, seed=2, grad=False)
    assert_equal(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(expected, x, dy)[0])


@pytest.mark.parametrize(
    ('up', 'down', 'pad', 'size'), [(2, 1, [2, 1, 2, 1], 4), (1, 2, 1, 5), (3, 2, [4, -1, 0, 2], 4), (1, 1, [1, 2], 3)]
)
def test_upfirdn2d_is_twice_differentiable(up: int, down: int, pad: Any, size: int) -> None:
    f = setup_filter([1, 3, 3, 1]).double()
    op = lambda x: upfirdn2d(x, f, up, down, pad, gain=1.5)  # noqa: E731
    x = rand(1, 2, size, size + 1)
    assert gradcheck(op, (x,))
    assert gradgradcheck(op, (x,))


def test_separable_filter_equals_its_outer_product() -> None:
    taps = [1.0, 2, 5, 7, 3, 2, 1, 4]
    x = rand(2, 2, 12, 11)
    one, two = setup_filter(taps, gain=3), setup_filter(taps, gain=3, separable=False)
    assert one.shape == (8,)
    assert two.shape == (8, 8)
    for up, down in ((1, 1), (2, 1), (1, 2)):
        torch.testing.assert_close(
            upfirdn2d(x, one.double(), up, down, 4, gain=2),
            upfirdn2d(x, two.double(), up, down, 4, gain=2),
            rtol=1e-6,
            atol=1e-6,
        )


def test_setup_filter_normalizes_scales_flips_and_stays_2d_below_eight_taps() -> None:
    f = setup_filter([1, 3, 3, 1], gain=4)
    assert f.shape == (4, 4)
    assert f.dtype == torch.float32
    assert float(f.sum()) == 4
    assert torch.equal(setup_filter([1, 2], normalize=False, flip_filter=True), torch.tensor([[4.0, 2], [2, 1]]))
    assert setup_filter(None).tolist() == [[1]]
    with pytest.raises(ValueError, match='one or two dimensions'):
        setup_filter(torch.zeros(1, 2, 3))


def test_resampling_keeps_constants_and_sizes() -> None:
    f = setup_filter([1, 3, 3, 1])
    x = torch.full([1, 2, 8, 8], 3.0)
    for y, size in ((upsample2d(x, f), 16), (downsample2d(x, f), 4), (filter2d(x, f), 8)):
        assert y.shape[2:] == (size, size)
        torch.testing.assert_close(y[:, :, 2:-2, 2:-2], torch.full_like(y[:, :, 2:-2, 2:-2], 3.0))


def test_upfirdn2d_in_bfloat16_is_as_close_as_its_digits_allow() -> None:
    x, f = torch.randn(2, 4, 16, 16), setup_filter([1, 3, 3, 1])
    for args in ({'padding': 1}, {'up': 2, 'padding': [2, 1], 'gain': 4}, {'down': 2, 'padding': 1}):
        y = upfirdn2d(x.bfloat16(), f, **args)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), upfirdn2d(x, f, **args), rtol=0.02, atol=0.02)


def test_upfirdn2d_refuses_what_cannot_work() -> None:
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match='nothing is left'):
        upfirdn2d(x, torch.ones(5, 5))
    with pytest.raises(ValueError, match='up must be at least 1'):
        upfirdn2d(x, None, up=0)
    with pytest.raises(ValueError, match=r'x \[N, C, H, W\]'):
        upfirdn2d(x[0], None)


@st.composite
def filters(draw: st.DrawFn) -> torch.Tensor:
    """Draws a one-dimensional filter, an outer product, or neither; of the latter, some equal their mirror images."""
    taps = torch.tensor(draw(st.sampled_from(TAPS)), dtype=torch.float32)
    kind = draw(st.sampled_from(['1-D', 'outer', '2-D', 'mirrored']))
    if kind == '1-D':
        return taps / taps.abs().sum()
    if kind == 'outer':
        return setup_filter(taps, separable=False, normalize=False) / taps.abs().sum() ** 2
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    f = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return sum_of_mirror_images(f) if kind == 'mirrored' else f


@needs_kernels
@SETTINGS
@given(images, dtypes, layouts, filters(), pairs, pairs, st.tuples(*[st.integers(-3, 9)] * 4), st.booleans())
def test_upfirdn2d_equals_the_reference_with_gradients(shape, dtype, layout, f, up, down, padding, flip) -> None:
    """The kernel against the reference in float64: bfloat16 then differs by its own rounding only."""
    width, height = shape[3] * up[0] + sum(padding[:2]), shape[2] * up[1] + sum(padding[2:])
    assume(width >= f.shape[-1] and height >= f.shape[0])
    # The reference crops a transposed convolution, and PyTorch rejects an empty result.
    assume(min(shape[2], shape[3]) > 3 or min(padding) >= 0)
    x = image(shape, dtype, layout, seed=1)
    wide = x.detach().double().requires_grad_()
    args = {'up': up, 'down': down, 'padding': padding, 'flip_filter': flip, 'gain': 1.5}
    y, expected = upfirdn2d(x, f, **args, impl='cpu'), upfirdn2d(wide, f, **args, impl='ref')
    assert_close(y, expected.to(dtype))
    dy = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).to(dtype)
    dy.requires_grad_()
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    wide_dy = dy.detach().double().requires_grad_()
    (expected_dx,) = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    assert_close(dx, expected_dx.to(dtype))
    v = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).to(dtype)
    (second,) = torch.autograd.grad(dx, dy, v)
    assert_close(second, torch.autograd.grad(expected_dx, wide_dy, v.double())[0].to(dtype))


@needs_kernels
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_results_keep_the_memory_format(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 16, 8, 8).to(dtype=dtype, memory_format=memory_format).requires_grad_()
    f = setup_filter([1, 3, 3, 1])
    for y in (bias_act(x, torch.ones(16), act='lrelu', impl='cpu'), upsample2d(x, f, impl='cpu')):
        assert y.is_contiguous(memory_format=memory_format)
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        assert dx.is_contiguous(memory_format=memory_format)


@needs_kernels
@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    """upfirdn2d and bias_act with its bias gradient, on features large enough for several threads."""
    x = torch.randn([4, 8, 96, 96], generator=torch.Generator().manual_seed(0)).requires_grad_()
    b, f = torch.ones(8, requires_grad=True), setup_filter([1, 3, 3, 1])

    def run() -> list[torch.Tensor]:
        y = downsample2d(bias_act(x, b, act='lrelu', clamp=1, impl='cpu'), f, impl='cpu')
        return [y.detach(), *torch.autograd.grad(y, [x, b], torch.ones_like(y))]

    assert_same_bits(run, num_threads)


def test_a_filter_is_prepared_once_and_again_after_a_change_in_place() -> None:
    f, calls = setup_filter([1, 2, 3]), []

    def make() -> torch.Tensor:
        calls.append(1)
        return f * 2

    first = [prepared_filter(f, 'twice', 2, make) for _ in range(2)]
    assert len(calls) == 1
    assert first[0] is first[1]
    f.mul_(3)
    assert torch.equal(prepared_filter(f, 'twice', 2, make), f * 2)
    with torch.inference_mode():
        g = setup_filter([1, 2, 3])
        assert prepared_filter(f, 'of inference', 1, lambda: f * 1).is_inference() is False
        assert torch.equal(prepared_filter(g, 'twice', 2, lambda: g * 2), g * 2)
