"""Tests of the CUDA kernels of spectral_weights against PyTorch, thread by thread on the CPU.

g++ compiles the same sources as nvcc; `launch.cuh` then calls every thread of every block in turn, and backwards.
"""

from __future__ import annotations

import ctypes

import pytest
import torch

from tests.support.host_kernels import load_launchers
from tests.torch_utils.ops.test_cuda_index import DTYPES
from tests.torch_utils.ops.test_modulation_cuda_index import Pointer, close, run
from torch_utils.ops.spectral_weights import spectral_weights
from torch_utils.ops.toolchain import cpu_toolchain

pytestmark = [pytest.mark.slow, pytest.mark.skipif(cpu_toolchain.find_cxx() is None, reason='needs g++')]

SIZES = ([5, 3, 3, 3], [1, 40, 1, 1], [70, 30, 3, 3], [6, 9, 4, 4], [300, 7], [3, 20])
OUT_DIMS = (0, 0, 0, 1, 0, 1)


class SpectralView(ctypes.Structure):
    _fields_ = [
        *[(name, Pointer) for name in ('w', 'low', 'u', 'next', 'v', 'scratch', 'dw')],
        *[(name, ctypes.c_uint32) for name in ('outer', 'inner', 'taps', 'first_block')],
        ('dtype', ctypes.c_int), ('transposed', ctypes.c_bool), ('channels_last', ctypes.c_bool),
    ]  # fmt: skip


@pytest.fixture(scope='module')
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The launchers, compiled as host code without a warning."""
    launchers = ('spectral_weights', 'spectral_weights_backward')
    return load_launchers(tmp_path_factory.mktemp('kernels'), ('spectral_weights',), launchers)


def laid_out(w: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Returns a tensor like a normalized weight."""
    last = w.ndim == 4 and w.shape[2] < 4  # both formats
    return w.detach().to(dtype).clone(memory_format=torch.channels_last if last else torch.contiguous_format)


@pytest.mark.parametrize('iterate', [True, False])
@pytest.mark.parametrize('dtype', DTYPES)
def test_all_weights_are_normalized_together_and_so_are_their_gradients(kernels, dtype, iterate) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(size).requires_grad_() for size in SIZES]
    us = [torch.randn(w.shape[dim]) for w, dim in zip(weights, OUT_DIMS, strict=True)]
    us = [u / u.norm() for u in us]
    dtypes = [dtype if w.ndim == 4 else torch.float32 for w in weights]
    expected = spectral_weights(weights, us, OUT_DIMS, dtypes, iterate=iterate, impl='ref')
    low = [laid_out(w, to) for w, to in zip(weights, dtypes, strict=True)]
    after = [torch.empty_like(u) for u in us]
    vs = [torch.empty(w.numel() // len(u) + 1) for w, u in zip(weights, us, strict=True)]
    scratch = [torch.empty(w.numel() + len(u)) for w, u in zip(weights, us, strict=True)]
    dw = [torch.empty_like(w) for w in weights]

    def views(low: list[torch.Tensor]) -> ctypes.Array[SpectralView]:
        tensors = zip(weights, low, us, after, vs, scratch, dw, strict=True)
        return (SpectralView * len(weights))(*[
            SpectralView(*(t.data_ptr() for t in each), w.shape[0], w.shape[1], w[0, 0].numel(), 0, DTYPES[to],
                         dim == 1, each[1].ndim == 4 and not each[1].is_contiguous())
            for each, w, to, dim in zip(tensors, weights, dtypes, OUT_DIMS, strict=True)
        ])  # fmt: skip

    run(kernels, 'spectral_weights', [*low, *after, *vs], views(low), len(weights), iterate)
    for y, u, v, (weight, next_u), w, dim, to in zip(low, after, vs, expected, weights, OUT_DIMS, dtypes, strict=True):
        close(y, weight, to)
        close(u, next_u)
        product = w.transpose(0, dim).flatten(1).t() @ next_u
        close(v, torch.cat([product, product.norm()[None]]))
    dlow = [laid_out(torch.randn(w.shape), to) for w, to in zip(weights, dtypes, strict=True)]
    grads = torch.autograd.grad([result.weight for result in expected], weights, dlow)
    run(kernels, 'spectral_weights_backward', dw, views(dlow), len(weights))
    for found, wanted in zip(dw, grads, strict=True):
        close(found, wanted)


def test_zero_weights_leave_u_at_zero(kernels) -> None:
    w, low, u, after, v = torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(3), torch.ones(3), torch.ones(3)
    tensors = (w, low, u, after, v, torch.empty(5), w)
    view = SpectralView(*(t.data_ptr() for t in tensors), 3, 2, 1, 0, 0)
    run(kernels, 'spectral_weights', [after, v], (SpectralView * 1)(view), 1, True)
    assert after.tolist() == v.tolist() == [0, 0, 0]
