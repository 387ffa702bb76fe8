"""Tests of the CUDA kernels of lowered_weights and modulation against PyTorch, thread by thread on the CPU.

g++ compiles the same sources as nvcc; `launch.cuh` then calls every thread of every block in turn, and backwards.
"""

from __future__ import annotations

import ctypes
import itertools

import pytest
import torch

from tests.support.host_kernels import load_launchers
from tests.torch_utils.ops.test_cuda_index import DTYPES, Target
from torch_utils.ops.lowered_weights import lower_weights
from torch_utils.ops.modulation import modulation
from torch_utils.ops.toolchain import cpu_toolchain

pytestmark = [pytest.mark.slow, pytest.mark.skipif(cpu_toolchain.find_cxx() is None, reason='needs g++')]

TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
Pointer = ctypes.c_void_p


class WeightView(ctypes.Structure):
    _fields_ = [
        *[(name, Pointer) for name in ('w', 'low', 'squares', 'scales', 'dw')],
        *[(name, ctypes.c_uint32) for name in ('outputs', 'inputs', 'taps')],
        ('gain', ctypes.c_float), ('first_block', ctypes.c_uint32), ('channels_last', ctypes.c_bool),
    ]  # fmt: skip


class Arguments(ctypes.Structure):
    _fields_ = [*[(name, Pointer) for name in 'sqda'], *[(name, ctypes.c_uint32) for name in ('n', 'i', 'o')]]


class Gradients(ctypes.Structure):
    _fields_ = [(name, Pointer) for name in ('low', 'dd', 'ds', 'dq')]


class Second(ctypes.Structure):
    _fields_ = [(name, Pointer) for name in ('G', 'H', 'dd', 'r', 'of_low', 'of_dd', 'of_s', 'of_q')]


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers of both operations, compiled as host code without a warning."""
    launchers = ('lower_weights', 'lower_weights_backward', 'modulation', 'modulation_backward', 'modulation_second')
    return load_launchers(tmp_path_factory.mktemp('kernels'), ('lowered_weights', 'modulation'), launchers)


def run(kernels: ctypes.CDLL, name: str, outputs: list[torch.Tensor], *args: object) -> None:
    """Launches a kernel with its threads in order and backwards; conflicts between threads make the results differ."""
    results = []
    for device in (0, 1):
        for y in outputs:
            y.fill_(float('nan'))
        assert getattr(kernels, f'ganfoundry_{name}')(*args, Target(device)) is None
        results.append([y.clone() for y in outputs])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def close(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    atol = TOLERANCE[dtype] * max(float(expected.detach().abs().max()), 1e-6)
    torch.testing.assert_close(actual.float(), expected.detach().float(), rtol=0, atol=atol)


@pytest.mark.parametrize(('dtype', 'normalize'), list(itertools.product(DTYPES, [False, True])))
def test_all_weights_are_lowered_by_one_kernel_and_their_gradients_by_another(kernels, dtype, normalize) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(size).requires_grad_() for size in ([5, 3, 3, 3], [1, 40, 1, 1], [20, 30, 3, 3])]
    gains = [0.5, 1.0, 3.0]
    wanted = lower_weights(weights, gains, dtype, normalize=normalize, squares=True, impl='ref')
    low = [torch.empty(w.shape, dtype=dtype, memory_format=torch.channels_last) for w in weights]
    squares = [torch.empty(w.shape[:2]) for w in weights]
    scales, dw = [torch.empty(len(w)) for w in weights], [torch.empty_like(w) for w in weights]

    def views(low: list[torch.Tensor], squares: list[torch.Tensor]) -> ctypes.Array[WeightView]:
        return (WeightView * 3)(*[
            WeightView(w.data_ptr(), y.data_ptr(), q.data_ptr(), a.data_ptr() if normalize else None, d.data_ptr(),
                       w.shape[0], w.shape[1], w[0, 0].numel(), gain, 0, True)
            for w, y, q, a, d, gain in zip(weights, low, squares, scales, dw, gains, strict=True)
        ])  # fmt: skip

    written = [*low, *squares, *(scales if normalize else [])]
    run(kernels, 'lower_weights', written, views(low, squares), 3, DTYPES[dtype])
    for y, q, expected in zip(low, squares, wanted, strict=True):
        close(y, expected.weight, dtype)
        close(q, expected.squares)
    dlow = [torch.randn(w.shape).to(dtype).contiguous(memory_format=torch.channels_last) for w in weights]
    dsquares = [torch.randn(w.shape[:2]) for w in weights]
    outputs = [y for expected in wanted for y in expected]
    grads = torch.autograd.grad(outputs, weights, [g for pair in zip(dlow, dsquares, strict=True) for g in pair])
    run(kernels, 'lower_weights_backward', dw, views(dlow, dsquares), 3, DTYPES[dtype])
    for d, expected in zip(dw, grads, strict=True):
        close(d, expected)


@pytest.mark.parametrize(('dtype', 'normalize'), list(itertools.product(DTYPES, [False, True])))
@pytest.mark.parametrize(('n', 'i', 'o'), [(2, 3, 4), (5, 300, 70)])
def test_the_modulation_and_its_derivatives_are_those_of_pytorch(kernels, dtype, normalize, n, i, o) -> None:
    torch.manual_seed(0)
    s, q = torch.randn(n, i).requires_grad_(), torch.rand(o, i).requires_grad_()
    expected_low, expected_d = modulation(s, q, torch.float32, normalize, impl='ref')
    low, d, a = torch.empty([n, i], dtype=dtype), torch.empty([n, o]), torch.empty([n])
    arguments = Arguments(*[t.data_ptr() for t in (s, q, d, a)], n, i, o)
    run(kernels, 'modulation', [low, d, a], arguments, normalize, Pointer(low.data_ptr()), DTYPES[dtype])
    close(low, expected_low, dtype)
    close(d, expected_d)

    dlow, dd = torch.randn(n, i).to(dtype), torch.randn(n, o).requires_grad_()
    wide = dlow.float().requires_grad_()
    first = torch.autograd.grad([expected_low, expected_d], [s, q], [wide, dd], create_graph=True)
    ds, dq = torch.empty([n, i]), torch.empty([o, i])
    gradients = Gradients(*[t.data_ptr() for t in (dlow, dd, ds, dq)])
    run(kernels, 'modulation_backward', [ds, dq], arguments, gradients, DTYPES[dtype])
    close(ds, first[0])
    close(dq, first[1])

    G, H = torch.randn(n, i), torch.randn(o, i)
    second = torch.autograd.grad(first, [wide, dd, s, q], [G, H])
    found = [torch.empty([n, i], dtype=dtype), torch.empty([n, o]), torch.empty([n, i]), torch.empty([o, i])]
    r = torch.empty([n, o])
    run(kernels, 'modulation_second', found, arguments,
        Second(*[t.data_ptr() for t in (G, H, dd, r, *found)]), DTYPES[dtype])  # fmt: skip
    for actual, expected, t in zip(found, second, (dtype, *[torch.float32] * 3), strict=True):
        close(actual, expected, t)
