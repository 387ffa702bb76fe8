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
    Target,
    assert_equal,
    dtypes,
    fields,
    image,
    pointer,
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


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers, compiled as host code without a warning."""
    return load_launchers(tmp_path_factory.mktemp('kernels'), ('involution',), OPERATORS)


@SETTINGS
@given(images, sides, dtypes)
def test_involution_and_its_gradients_equal_the_reference(kernels, sizes, side, dtype) -> None:
    """Values, and the gradients in x and in the weights: all three kernels."""
    n, num_groups, members, h, w = sizes
    shape, weight_shape = (n, num_groups * members, h, w), (n, num_groups * side**2, h, w)
    x, dy = (image(shape, dtype, 'NCHW', seed) for seed in (1, 2))
    weight = image(weight_shape, dtype, 'NCHW', seed=3)
    wide = [x.double().requires_grad_(), weight.double().unflatten(1, (num_groups, side**2)).requires_grad_()]
    y = involution(*wide, impl='ref')
    dx, dw = torch.autograd.grad(y, wide, dy.double())
    g = Involution(n, num_groups, members, side, h, w)
    for name, a, b, expected in (
        ('involution', x, weight, y.detach()),
        ('involution_adjoint', dy, weight, dx),
        ('involution_correlation', dy, x, dw.flatten(1, 2)),
    ):
        out = unwritten(tuple(expected.shape), dtype, 'NCHW')
        run = getattr(kernels, f'ganfoundry_{name}')
        assert run(pointer(a), pointer(b), pointer(out), DTYPES[dtype], g, Target()) is None
        assert_equal(out, expected, scale=10.0)


def test_a_number_that_is_none_goes_where_the_reference_lets_it(kernels) -> None:
    x, weight = image((1, 6, 9, 5), torch.float32, 'NCHW'), image((1, 18, 9, 5), torch.float32, 'NCHW', seed=2)
    x[0, 1, 4, 4] = weight[0, 3:12, 0, 4] = float('nan')
    expected = involution(x, weight.unflatten(1, (2, 9)), impl='ref')
    y, g = unwritten((1, 6, 9, 5), torch.float32, 'NCHW'), Involution(1, 2, 3, 3, 9, 5)
    args = (pointer(x), pointer(weight), pointer(y), DTYPES[torch.float32], g, Target())
    assert kernels.ganfoundry_involution(*args) is None
    assert torch.equal(y.isnan(), expected.isnan())
