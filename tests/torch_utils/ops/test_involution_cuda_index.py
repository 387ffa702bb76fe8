"""Tests of the CUDA kernels of involution against the reference, thread by thread on the CPU."""

from __future__ import annotations

import ctypes

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.host_kernels import load_launchers
from tests.torch_utils.ops.test_cuda_index import (
    DTYPES,
    SETTINGS,
    assert_equal,
    dtypes,
    fields,
    formats,
    image,
    pointer,
    run,
    unwritten,
)
from torch_utils.ops.involution import involution
from torch_utils.ops.toolchain import cpu_toolchain

pytestmark = [pytest.mark.slow, pytest.mark.skipif(cpu_toolchain.find_cxx() is None, reason='needs g++')]

OPERATORS = ('involution', 'involution_adjoint', 'involution_correlation')
sides = st.sampled_from([1, 3, 3, 5, 7, 9])
images = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 12), st.integers(1, 37))


class Involution(ctypes.Structure):
    _fields_ = fields('samples', 'groups', 'members', 'side', 'height', 'width')


class ChannelsLast(ctypes.Structure):
    _fields_ = fields('a', 'b', 'out', of=ctypes.c_bool)


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers, compiled as host code without a warning."""
    return load_launchers(tmp_path_factory.mktemp('kernels'), ('involution',), OPERATORS)


@SETTINGS
@given(images, sides, dtypes, st.tuples(*[formats] * 4))
def test_involution_and_its_gradients_equal_the_reference(kernels, sizes, side, dtype, layouts) -> None:
    """Values, and the gradients in x and in the weights: all three kernels, each operand in a layout of its own."""
    n, num_groups, members, h, w = sizes
    shape, weight_shape = (n, num_groups * members, h, w), (n, num_groups * side**2, h, w)
    of_x, of_dy, of_weight, of_dw = layouts
    x, dy = image(shape, dtype, of_x, seed=1), image(shape, dtype, of_dy, seed=2)
    weight = image(weight_shape, dtype, of_weight, seed=3)
    wide = [x.double().requires_grad_(), weight.double().unflatten(1, (num_groups, side**2)).requires_grad_()]
    y = involution(*wide, impl='ref')
    dx, dw = torch.autograd.grad(y, wide, dy.double())
    g = Involution(n, num_groups, members, side, h, w)
    for name, a, b, expected, (*of_operands, of_out) in (
        ('involution', x, weight, y.detach(), (of_x, of_weight, of_dy)),
        ('involution_adjoint', dy, weight, dx, (of_dy, of_weight, of_x)),
        ('involution_correlation', dy, x, dw.flatten(1, 2), (of_dy, of_x, of_dw)),
    ):
        out = unwritten(tuple(expected.shape), dtype, of_out)
        last = ChannelsLast(*(layout == 'NHWC' for layout in (*of_operands, of_out)))
        run(kernels, name, [out], pointer(a), pointer(b), pointer(out), DTYPES[dtype], g, last)
        assert_equal(out, expected, scale=10.0)


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
@pytest.mark.parametrize('members', [3, 4])
def test_a_number_that_is_none_goes_where_the_reference_lets_it(kernels, layout, members) -> None:
    shape = (1, 2 * members, 9, 5)
    x, weight = image(shape, torch.float32, layout), image((1, 18, 9, 5), torch.float32, layout, seed=2)
    x[0, 1, 4, 4] = weight[0, 3:12, 0, 4] = float('nan')
    expected = involution(x, weight.unflatten(1, (2, 9)), impl='ref')
    y, g = unwritten(shape, torch.float32, layout), Involution(1, 2, members, 3, 9, 5)
    last = ChannelsLast(*[layout == 'NHWC'] * 3)
    run(kernels, 'involution', [y], pointer(x), pointer(weight), pointer(y), DTYPES[torch.float32], g, last)
    assert torch.equal(y.isnan(), expected.isnan())
