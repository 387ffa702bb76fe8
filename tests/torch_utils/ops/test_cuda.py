"""Tests of the CUDA operations against the reference, with gradients of two orders; without a GPU, on the CPU."""

from __future__ import annotations

import contextlib
import ctypes

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.host_kernels import run_on_the_cpu
from torch_utils.ops import dispatch
from torch_utils.ops.bias_act import bias_act
from torch_utils.ops.registry import OPS, Op, Sample
from torch_utils.ops.toolchain import build
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

DEVICE = 'cuda'  # tests/support/host_kernels.py sets another
SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
# Relative to the largest value. Kernels round once, but gradients are rounded at every operation.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TAPS = ([1], [1, 1], [1, 3, 3, 1], [1, 2, 3, 4], [1, 2, 3, 4, 5], list(range(1, 13)), [(-1) ** k for k in range(32)])

dtypes = st.sampled_from(list(TOLERANCE))
layouts = st.sampled_from(['contiguous', 'channels_last', 'strided', 'expanded', 'offset'])
factors = st.sampled_from([(1, 1), (2, 2), (1, 1), (2, 2), (1, 2), (4, 1), (4, 4)])
images = st.tuples(st.integers(0, 3), st.sampled_from([1, 3, 4, 8, 16, 24]), st.integers(1, 11),
                   st.sampled_from([*range(1, 12), 16, 32, 37, 72]))  # fmt: skip


def image(shape: tuple[int, ...], dtype: torch.dtype, layout: str, seed: int) -> torch.Tensor:
    """Returns a leaf [N, C, H, W] of normal numbers in the named layout."""
    n, c, h, w = shape
    generator = torch.Generator().manual_seed(seed)
    if layout == 'expanded':
        x = torch.randn([n, c, h, 1], generator=generator).to(DEVICE, dtype).expand(shape)
    elif layout == 'strided':
        x = torch.randn([n, c, h, 2 * w], generator=generator).to(DEVICE, dtype)[..., ::2]
    elif layout == 'offset':  # dense, at an address that is not aligned for packs
        x = torch.randn([n * c * h * w + 1], generator=generator).to(DEVICE, dtype)[1:].reshape(shape)
    else:
        x = torch.randn(shape, generator=generator).to(DEVICE, dtype)
        x = x.contiguous(memory_format=torch.channels_last) if layout == 'channels_last' else x
    return x.requires_grad_()


def normal(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Returns normal numbers of the shape, dtype and device of `like`."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, scale: float = 1) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        atol = TOLERANCE[actual.dtype] * max(float(expected.detach().abs().max()), scale)
        torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.gpu
@SETTINGS
@given(images, dtypes, layouts, st.sampled_from(TAPS), st.booleans(), factors, factors,
       st.tuples(*[st.integers(-3, 9)] * 4), st.booleans())  # fmt: skip
def test_upfirdn2d_equals_the_reference_with_gradients(
    shape, dtype, layout, taps, separable, up, down, padding, flip
) -> None:
    f = setup_filter(taps, separable=separable, normalize=False).to(DEVICE) / sum(map(abs, taps)) ** (2 - separable)
    width, height = shape[3] * up[0] + sum(padding[:2]), shape[2] * up[1] + sum(padding[2:])
    assume(width >= len(taps) and height >= len(taps))
    # The reference crops a transposed convolution, and PyTorch rejects an empty result.
    assume(min(shape[2], shape[3]) > 3 or min(padding) >= 0)
    x = image(shape, dtype, layout, seed=1)
    wide = x.detach().double().requires_grad_()
    args = {'up': up, 'down': down, 'padding': padding, 'flip_filter': flip, 'gain': 1.5}
    y, expected = upfirdn2d(x, f, **args, impl='cuda'), upfirdn2d(wide, f, **args, impl='ref')
    assert y.dtype == dtype
    assert_close(y, expected)
    dy, v = normal(y, 2).requires_grad_(), normal(x, 3)
    wide_dy = dy.detach().double().requires_grad_()
    (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
    (expected_dx,) = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    assert_close(dx, expected_dx)
    (second,) = torch.autograd.grad(dx, dy, v)
    assert_close(second, torch.autograd.grad(expected_dx, wide_dy, v.double())[0])


@pytest.mark.gpu
@SETTINGS
@given(images, dtypes, layouts, st.sampled_from(['linear', 'lrelu']), st.booleans(), st.sampled_from([None, 0.5, 2]),
       st.sampled_from([(None, None), (0.1, 2.0), (0.0, 1.0)]), st.booleans())  # fmt: skip
def test_bias_act_equals_the_reference_with_gradients(
    shape, dtype, layout, act, with_bias, clamp, scales, flat
) -> None:
    """Values, the gradients of x and b, and the gradient of those; also for 2-D features [N, C]."""
    x = image(shape, dtype, layout, seed=1)
    x = x.detach()[:, :, 0, 0].requires_grad_() if flat else x
    b = torch.linspace(-1, 1, shape[1], device=DEVICE).requires_grad_() if with_bias else None
    wide = [None if t is None else t.detach().double().requires_grad_() for t in (x, b)]
    args = {'act': act, 'alpha': scales[0], 'gain': scales[1], 'clamp': clamp}
    y, expected = bias_act(x, b, **args, impl='cuda'), bias_act(*wide, **args, impl='ref')
    assert y.dtype == dtype
    assert_close(y, expected)
    # Near a jump of the derivative, rounding decides its side.
    smooth = (expected.abs() > 1e-2) & ((expected.abs() - (clamp or 0)).abs() > 2e-2)
    dy = (normal(y, 2) * smooth).requires_grad_()
    wide_dy = dy.detach().double().requires_grad_()
    inputs, wide_inputs = [t for t in (x, b) if t is not None], [t for t in wide if t is not None]
    first = torch.autograd.grad(y, inputs, dy, create_graph=True)
    expected_first = torch.autograd.grad(expected, wide_inputs, wide_dy, create_graph=True)
    for actual, wanted in zip(first, expected_first, strict=True):
        # The error of the bias gradient, a sum, grows with its summands.
        assert_close(actual, wanted, scale=float(wide_dy.detach().norm()) if actual.ndim == 1 else 1)
    v = [normal(t, 3) for t in first]
    (second,) = torch.autograd.grad(first, dy, v)
    (wanted,) = torch.autograd.grad(expected_first, wide_dy, [t.double() for t in v])
    assert_close(second * smooth, wanted * smooth)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', list(TOLERANCE))
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_results_keep_the_memory_format(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 16, 8, 8).to(DEVICE, dtype).contiguous(memory_format=memory_format).requires_grad_()
    b, f = torch.ones(16, device=DEVICE), setup_filter([1, 3, 3, 1]).to(DEVICE)
    for y in (bias_act(x, b, act='lrelu', impl='cuda'), upsample2d(x, f, impl='cuda')):
        assert y.is_contiguous(memory_format=memory_format)
        (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
        assert dx.is_contiguous(memory_format=memory_format)


@pytest.mark.gpu
def test_two_runs_give_the_same_bits() -> None:
    """Includes the bias gradient, which many blocks sum."""
    x = torch.randn([4, 8, 96, 96], generator=torch.Generator().manual_seed(0)).to(DEVICE).requires_grad_()
    b, f = torch.ones(8, device=DEVICE, requires_grad=True), setup_filter([1, 3, 3, 1]).to(DEVICE)

    def run() -> list[torch.Tensor]:
        y = downsample2d(bias_act(x, b, act='lrelu', clamp=1, impl='cuda'), f, impl='cuda')
        return [y.detach(), *torch.autograd.grad(y, [x, b], torch.ones_like(y))]

    first = run()
    assert all(torch.equal(a, e) for a, e in zip(run(), first, strict=True))


@pytest.mark.gpu
def test_an_image_of_more_elements_than_are_counted_is_refused() -> None:
    """An expanded tensor takes no memory: it is rejected before any is allocated."""
    x, f = torch.zeros([1, 1, 1, 1], device=DEVICE).expand(1, 2, 2**15, 2**15), setup_filter([1, 3, 3, 1]).to(DEVICE)
    with pytest.raises(ValueError, match=r"bias_act: .* more elements .*smaller batch, or impl='ref'"):
        bias_act(x, torch.zeros(2, device=DEVICE), act='lrelu', impl='cuda')
    with pytest.raises(ValueError, match=r'upfirdn2d: .* more elements'):
        upfirdn2d(x, f, impl='cuda')


@pytest.mark.gpu
def test_kernels_run_on_the_current_stream() -> None:
    """A graph captures the launches on its stream only."""
    if DEVICE != 'cuda':
        pytest.skip('the CPU has no streams')
    x, b = torch.ones([2, 8, 16, 16], device=DEVICE), torch.zeros(8, device=DEVICE)
    bias_act(x, b, act='lrelu', impl='cuda')
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = bias_act(x, b, act='lrelu', gain=3, impl='cuda')
    x.fill_(5)
    graph.replay()
    torch.cuda.synchronize()
    assert y.unique().tolist() == [15]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU, which runs these tests itself')
@pytest.mark.skipif(not build.load_cpu(), reason='no native operations')
def test_without_a_gpu_the_tests_above_pass_on_the_cpu() -> None:
    """Compiles the CUDA registrations and kernels for the CPU, in a process of its own."""
    output = run_on_the_cpu('-m', 'gpu', 'tests/torch_utils/ops/test_cuda.py', 'tests/contracts/test_every_op.py')
    assert '1 skipped' in output, 'only the test of streams needs a GPU'


@pytest.mark.gpu
@pytest.mark.parametrize(
    'name', ['act_fir', 'bias_act', 'filtered_lrelu', 'involution', 'synthesis_epilogue', 'upfirdn2d']
)
def test_tensors_of_more_elements_than_a_launch_counts_are_cut_into_parts(name: str) -> None:
    """A launch counts 2^31 - 1 elements: 64 images of 32 channels at 1024 pixels exceed it. Here the limit is lower."""
    op, limit, num_cut = OPS.get(name), max_elements(), 0
    for sample in op.samples(torch.device(DEVICE), torch.float32):
        whole = with_gradients(op, sample)
        if whole[0].numel() == 0 or whole[0].ndim != 4 or len(whole[0]) < 2:
            continue
        before, limit.value = limit.value, max(value.numel() for value in whole) - 1
        try:
            parts = with_gradients(op, sample)
        finally:
            limit.value = before
        for actual, expected in zip(parts, whole, strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        num_cut += 1
    assert num_cut > 0


def with_gradients(op: Op, sample: Sample) -> tuple[torch.Tensor, ...]:
    """Returns the result of an operation and the gradients of its inputs."""
    inputs = [value.detach().requires_grad_() for value in sample.inputs.values()]
    y = op.bind(sample)(*inputs)
    return y, *torch.autograd.grad(y.square().sum(), inputs)


def max_elements() -> ctypes.c_int64:
    """Returns the limit of the loaded kernels, which can be changed."""
    dispatch.pick('cuda', torch.zeros(1, device=DEVICE))  # loads them
    for path in torch.ops.loaded_libraries:
        with contextlib.suppress(ValueError):
            return ctypes.c_int64.in_dll(ctypes.CDLL(path), 'ganfoundry_max_elements')
    raise AssertionError('the kernels are not loaded')
