"""Tests of filtered_lrelu on CUDA against the reference, with gradients of two orders; without a GPU, on the CPU."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.host_kernels import check_on_the_cpu
from torch_utils.ops.filtered_lrelu import filtered_lrelu
from torch_utils.ops.toolchain import build

DEVICE = 'cuda'  # tests/support/host_kernels.py sets another
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
# Relative to the largest value. Kernels round once, but gradients are rounded at every operation.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
filters = st.tuples(st.sampled_from([1, 4, 6, 12]), st.booleans())
factors = st.sampled_from([(1, 1), (2, 2), (4, 2), (2, 4), (2, 1), (3, 2)])


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int) -> torch.Tensor:
    """Returns a leaf of normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype).requires_grad_()


def filter_of(taps: int, separable: bool, seed: int) -> torch.Tensor:
    """Returns positive taps with a sum of 1."""
    f = torch.rand([taps] if separable else [taps, taps], generator=torch.Generator().manual_seed(seed)) + 0.1
    return (f / f.sum()).to(DEVICE)


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        atol = TOLERANCE[actual.dtype] * max(float(expected.detach().abs().max()), 1)
        torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.gpu
@SETTINGS
@given(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 45), st.integers(1, 45)),
    st.sampled_from(list(TOLERANCE)),
    filters,
    filters,
    factors,
    st.tuples(*[st.integers(-3, 12)] * 4),
    st.sampled_from([None, 0.7]),
)
def test_it_equals_the_reference_with_gradients(shape, dtype, fu, fd, by, padding, clamp) -> None:
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    assume(all(side * by[0] + pad >= fu[0] + fd[0] for side, pad in zip((shape[3], shape[2]), pads, strict=True)))
    assume(min(shape[2], shape[3]) > 3 or min(padding) >= 0)  # PyTorch rejects an empty crop
    x, b = normal(*shape, dtype=dtype, seed=1), normal(shape[1], seed=2)
    options = {'fu': filter_of(*fu, seed=3), 'fd': filter_of(*fd, seed=4), 'up': by[0], 'down': by[1]}
    options |= {'padding': padding, 'clamp': clamp}
    y = filtered_lrelu(x, b=b, impl='cuda', **options)
    wide = [t.detach().double().requires_grad_() for t in (x, b)]
    expected = filtered_lrelu(wide[0], b=wide[1], impl='ref', **options)
    assert y.dtype == dtype
    assert_close(y, expected)
    if dtype != torch.float32 or not y.numel():  # rounding decides the side on which a derivative jumps
        return
    dy = normal(*y.shape, seed=5)
    first = torch.autograd.grad(y, (x, b), dy, create_graph=True)
    wide_dy = dy.detach().double().requires_grad_()
    wanted = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    scale = float(dy.detach().norm())
    torch.testing.assert_close(first[0].double(), wanted[0], rtol=0, atol=1e-5 * max(scale, 1))
    v = normal(*x.shape, seed=6).detach()
    (second,) = torch.autograd.grad(first[0], dy, v)
    (wanted_second,) = torch.autograd.grad(wanted[0], wide_dy, v.double())
    assert_close(second, wanted_second)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU, which runs these tests itself')
@pytest.mark.skipif(not build.load_cpu(), reason='no native operations')
def test_without_a_gpu_the_tests_above_pass_on_the_cpu() -> None:
    """Compiles the CUDA registrations and kernels for the CPU, in a process of its own."""
    check_on_the_cpu('test_filtered_lrelu_cuda.py')
