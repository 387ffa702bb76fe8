"""Tests of involution on CUDA against the reference, with gradients of two orders; without a GPU, on the CPU."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.host_kernels import check_on_the_cpu
from torch_utils.ops.involution import involution
from torch_utils.ops.toolchain import build

DEVICE = 'cuda'  # tests/support/host_kernels.py sets another
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
# Relative to the largest value. Kernels round once, but gradients are rounded at every operation.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def normal(*shape: int, dtype: torch.dtype = torch.float32, layout: str = 'contiguous', seed: int) -> torch.Tensor:
    """Returns a leaf [N, C, H, W] of normal numbers in the named layout."""
    x = torch.randn([*shape[:-1], 2 * shape[-1]], generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)
    x = x[..., ::2] if layout == 'strided' else x[..., : shape[-1]].contiguous()
    x = x.contiguous(memory_format=torch.channels_last) if layout == 'channels_last' else x
    return x.requires_grad_()


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        atol = TOLERANCE[actual.dtype] * max(float(expected.detach().abs().max()), 1)
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=atol)


@pytest.mark.gpu
@SETTINGS
@given(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 9)),
    st.tuples(*[st.integers(1, 20)] * 2),
    st.sampled_from([1, 3, 3, 5, 7, 9]),
    st.sampled_from(list(TOLERANCE)),
    st.tuples(*[st.sampled_from(['contiguous', 'channels_last', 'strided'])] * 3),
)
def test_involution_equals_the_reference_with_gradients(counts, size, side, dtype, layouts) -> None:
    n, num_groups, members = counts
    layout, weight_layout, dy_layout = layouts
    x = normal(n, num_groups * members, *size, dtype=dtype, layout=layout, seed=1)
    weight = normal(n, num_groups * side**2, *size, dtype=dtype, layout=weight_layout, seed=2)
    weight = weight.detach().unflatten(1, (num_groups, side**2)).requires_grad_()
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    y, expected = involution(x, weight, 'cuda'), involution(*wide, impl='ref')
    assert y.dtype == dtype
    assert_close(y, expected)
    dy = normal(*x.shape, dtype=dtype, layout=dy_layout, seed=3)
    wide_dy = dy.detach().double().requires_grad_()
    first = torch.autograd.grad(y, (x, weight), dy, create_graph=True)
    expected_first = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    for actual, wanted in zip(first, expected_first, strict=True):
        assert_close(actual, wanted)
    same = [t.detach().double() for t in first]  # only the rounding of the second order is compared
    second = torch.autograd.grad(first, (x, weight, dy), first)
    for actual, wanted in zip(second, torch.autograd.grad(expected_first, (*wide, wide_dy), same), strict=True):
        assert_close(actual, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize('members', [3, 8])
@pytest.mark.parametrize('layouts', [*itertools.product(('contiguous', 'channels_last'), repeat=3)], ids=str)
def test_no_operand_and_no_result_is_copied_in_either_layout(members, layouts) -> None:
    layout, weight_layout, dy_layout = layouts
    x, dy = (normal(2, 2 * members, 5, 4, layout=of, seed=1) for of in (layout, dy_layout))
    weight = normal(2, 18, 5, 4, layout=weight_layout, seed=2).unflatten(1, (2, 9))
    formats = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
    with torch.no_grad(), torch.autograd.profiler.profile() as profile:
        y = torch.ops.ganfoundry.involution(x, weight)
        dx = torch.ops.ganfoundry.involution_adjoint(dy, weight)
        dw = torch.ops.ganfoundry.involution_correlation(dy, x, 2, 9)
    assert y.is_contiguous(memory_format=formats[layout])
    assert dx.is_contiguous(memory_format=formats[dy_layout])
    assert dw.flatten(1, 2).is_contiguous(memory_format=formats[layout])
    names = {event.name for event in profile.function_events}
    assert 'ganfoundry::involution' in names
    assert not names & {'aten::copy_', 'aten::clone', 'aten::contiguous'}


@pytest.mark.gpu
def test_what_the_kernels_cannot_take_is_refused() -> None:
    """Too many elements are rejected before memory is allocated: an expanded tensor takes none."""
    x = torch.zeros([1, 1, 1, 1], device=DEVICE).expand(1, 2, 2**15, 2**15)
    with pytest.raises(ValueError, match=r"involution: .* more elements .*smaller batch, or impl='ref'"):
        involution(x, x[:, :, None], 'cuda')
    x = torch.zeros([2, 4, 3, 3], device=DEVICE)
    with pytest.raises(ValueError, match='expected two images of one shape, type and device'):
        torch.ops.ganfoundry.involution_correlation(x, x[1:], 2, 9)
    with pytest.raises(TypeError, match='the CUDA kernel takes float32, float16 and bfloat16'):
        torch.ops.ganfoundry.involution_correlation(x.long(), x.long(), 2, 9)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU, which runs these tests itself')
@pytest.mark.skipif(not build.load_cpu(), reason='no native operations')
def test_without_a_gpu_the_tests_above_pass_on_the_cpu() -> None:
    """Compiles the CUDA registrations and kernels for the CPU, in a process of its own."""
    check_on_the_cpu('test_involution_cuda.py')
