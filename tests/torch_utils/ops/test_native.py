"""Tests of the CPU kernels against the reference: values, gradients of two orders, shapes, strides of all layouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnnlib.errors import ConfigError
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.toolchain import build
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

LOADED = build.load_cpu()
pytestmark = pytest.mark.skipif(not LOADED, reason=f'no native operations: {LOADED.problem}')

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
# Relative to the largest value. The reference rounds bfloat16 at every step, the kernels once.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float64: 1e-12}
TAPS = ([1], [1, 1], [1, 3, 3, 1], [1, 2, 3, 4, 5], list(range(1, 13)), [(-1) ** k / (k + 1) for k in range(32)])

dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float64])
layouts = st.sampled_from(['contiguous', 'channels_last', 'strided', 'expanded'])
pairs = st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
images = st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 11), st.integers(1, 37))


def image(shape: tuple[int, ...], dtype: torch.dtype, layout: str, seed: int) -> torch.Tensor:
    """Returns a leaf [N, C, H, W] of normal numbers in the named layout."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    if layout == 'expanded':
        x = torch.randn([n, c, h, 1], generator=generator).to(dtype).expand(shape)
    elif layout == 'strided':
        x = torch.randn([n, c, h, 2 * w], generator=generator).to(dtype)[..., ::2]
    else:
        x = torch.randn(shape, generator=generator).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last) if layout == 'channels_last' else x
    return x.requires_grad_()


@st.composite
def filters(draw: st.DrawFn) -> torch.Tensor:
    """Draws a one-dimensional filter, an outer product, or neither."""
    taps = torch.tensor(draw(st.sampled_from(TAPS)), dtype=torch.float32)
    kind = draw(st.sampled_from(['1-D', 'outer', '2-D']))
    if kind == '1-D':
        return taps / taps.abs().sum()
    if kind == 'outer':
        return setup_filter(taps, separable=False, normalize=False) / taps.abs().sum() ** 2
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))


def assert_close(actual: torch.Tensor, expected: torch.Tensor, scale: float = 1) -> None:
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if expected.numel() == 0:
        return
    atol = TOLERANCE[actual.dtype] * max(float(expected.detach().abs().max()), scale)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


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


@SETTINGS
@given(images, dtypes, layouts, st.sampled_from(['linear', 'lrelu']), st.booleans(), st.sampled_from([None, 0.5, 2]),
       st.sampled_from([(None, None), (0.1, 2.0), (0.0, 1.0)]), st.booleans())  # fmt: skip
def test_bias_act_equals_the_reference_with_gradients(
    shape, dtype, layout, act, with_bias, clamp, scales, flat
) -> None:
    """Values, the gradients of x and b, and the gradient of those; also for 2-D features [N, C]."""
    x = image(shape, dtype, layout, seed=1)
    x = x.detach()[:, :, 0, 0].requires_grad_() if flat else x
    b = torch.linspace(-1, 1, shape[1]).requires_grad_() if with_bias else None
    wide = [None if t is None else t.detach().double().requires_grad_() for t in (x, b)]
    args = {'act': act, 'alpha': scales[0], 'gain': scales[1], 'clamp': clamp}
    y, expected = bias_act(x, b, **args, impl='cpu'), bias_act(*wide, **args, impl='ref')
    assert_close(y, expected.to(dtype))
    # Near a jump of the derivative, rounding decides its side.
    smooth = (expected.abs() > 1e-2) & ((expected.abs() - (clamp or 0)).abs() > 2e-2)
    if clamp is not None:
        smooth |= (wide[0] + (0 if b is None else wide[1].reshape(-1, *[1] * (x.ndim - 2)))).abs() > 50
    dy = (torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)) * smooth).to(dtype).requires_grad_()
    wide_dy = dy.detach().double().requires_grad_()
    inputs, wide_inputs = [t for t in (x, b) if t is not None], [t for t in wide if t is not None]
    first = torch.autograd.grad(y, inputs, dy, create_graph=True)
    expected_first = torch.autograd.grad(expected, wide_inputs, wide_dy, create_graph=True)
    for actual, wanted in zip(first, expected_first, strict=True):
        # The error of the bias gradient, a sum, grows with its summands.
        assert_close(actual, wanted.to(actual.dtype), scale=float(wide_dy.detach().norm()) if actual.ndim == 1 else 1)
    v = [torch.randn(t.shape, generator=torch.Generator().manual_seed(3)).to(t.dtype) for t in first]
    (second,) = torch.autograd.grad(first, dy, v)
    (wanted,) = torch.autograd.grad(expected_first, wide_dy, [t.double() for t in v])
    assert_close(second * smooth, (wanted * smooth).to(dtype))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_results_keep_the_memory_format(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 16, 8, 8).to(dtype=dtype, memory_format=memory_format).requires_grad_()
    f = setup_filter([1, 3, 3, 1])
    for y in (bias_act(x, torch.ones(16), act='lrelu', impl='cpu'), upsample2d(x, f, impl='cpu')):
        assert y.is_contiguous(memory_format=memory_format)
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        assert dx.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    """upfirdn2d and bias_act with its bias gradient, on features large enough for several threads."""
    x = torch.randn([4, 8, 96, 96], generator=torch.Generator().manual_seed(0)).requires_grad_()
    b, f = torch.ones(8, requires_grad=True), setup_filter([1, 3, 3, 1])

    def run() -> list[torch.Tensor]:
        y = downsample2d(bias_act(x, b, act='lrelu', clamp=1, impl='cpu'), f, impl='cpu')
        return [y.detach(), *torch.autograd.grad(y, [x, b], torch.ones_like(y))]

    before, expected = torch.get_num_threads(), run()
    torch.set_num_threads(num_threads)
    try:
        results = run()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, e) for a, e in zip(results, expected, strict=True))


def test_what_the_kernels_do_not_know_is_the_reference() -> None:
    """Other activations, a gain that changes signs, and float16."""
    x = torch.randn([2, 3, 4, 4], generator=torch.Generator().manual_seed(0))
    for args in ({'act': 'tanh'}, {'act': 'lrelu', 'gain': -1}, {'act': 'lrelu', 'alpha': -0.5}):
        assert torch.equal(bias_act(x, **args, impl='cpu'), bias_act(x, **args, impl='ref'))
    assert torch.equal(bias_act(x.half(), act='lrelu'), bias_act(x.half(), act='lrelu', impl='ref'))
    with pytest.raises(ConfigError, match='float16'):
        bias_act(x.half(), act='lrelu', impl='cpu')


@pytest.mark.parametrize('impl', ['ref', 'cpu'])
def test_what_is_not_a_number_stays_so(impl: str) -> None:
    """Neither the clamp nor the rounding to bfloat16 hides NaN or infinity."""
    x = torch.tensor([[float('nan'), float('inf'), -float('inf'), 3e38]])
    assert bias_act(x, act='lrelu', clamp=2, impl=impl)[0, 1:].tolist() == [2, -2, 2]
    assert bias_act(x, act='lrelu', clamp=2, impl=impl)[0, 0].isnan()
    low = bias_act(x.bfloat16(), act='lrelu', gain=1, impl=impl)[0]
    assert low[0].isnan()
    assert low[1] == float('inf')
    assert low[2] == -float('inf')
