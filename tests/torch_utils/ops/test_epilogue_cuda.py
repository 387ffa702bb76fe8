"""Tests of the fused operations on CUDA against the reference, with gradients of two orders; without a GPU, on the CPU.

The channels divide into packs, as those of the networks do: tests/contracts/test_every_op.py has the other cases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.support.host_kernels import check_on_the_cpu
from tests.torch_utils.ops.test_epilogue import Recorder
from torch_utils.ops import dispatch
from torch_utils.ops.act_fir import act_fir
from torch_utils.ops.epilogue import scale_channels, synthesis_epilogue
from torch_utils.ops.filter_branch import filter_branch
from torch_utils.ops.toolchain import build
from torch_utils.ops.upfirdn2d import setup_filter

DEVICE = 'cuda'  # tests/support/host_kernels.py sets another
# Relative to the largest value. Kernels round once, but gradients are rounded at every operation.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
N, C, H, W = 2, 16, 9, 21
dtypes = pytest.mark.parametrize('dtype', list(TOLERANCE), ids=['fp32', 'fp16', 'bf16'])


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns a leaf of normal numbers, channels last if it is an image."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)
    return (x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x).requires_grad_()


def fir() -> torch.Tensor:
    return setup_filter([1, 3, 3, 1]).to(DEVICE)


def epilogue(x: torch.Tensor, d: torch.Tensor, noise: torch.Tensor, b: torch.Tensor, *, impl: str) -> torch.Tensor:
    return synthesis_epilogue(x, fir(), [1] * 4, d, noise, b, 'lrelu', gain=1.5, fir_gain=4, impl=impl)


def scaled(x: torch.Tensor, s: torch.Tensor, *, impl: str) -> torch.Tensor:
    with dispatch.default('ref') if impl == 'ref' else dispatch.default('auto'):
        return scale_channels(x, s)


def branches(x: torch.Tensor, *, impl: str) -> torch.Tensor:
    x, y = filter_branch(x, fir(), 2, [1] * 4, impl)
    return torch.cat([x.flatten(2), y.flatten(2)], dim=2)


# Inputs other than x, operators of the forward pass and of the gradient.
CASES: dict[str, tuple[Callable[..., torch.Tensor], list[tuple[int, ...]], str, str]] = {
    'epilogue': (epilogue, [(N, C), (N, 1, H - 1, W - 1), (C,)], 'epilogue', 'epilogue_backward'),
    'act_fir': (
        lambda x, b, *, impl: act_fir(x, b, fir(), [2] * 4, 'lrelu', gain=1.3, impl=impl),
        [(C,)],
        'act_fir',
        'act_fir_backward',
    ),
    'scale_channels': (scaled, [(N, C)], 'epilogue', 'epilogue_backward'),
    'filter_branch': (branches, [], 'upfirdn2d', 'upfirdn2d_add'),
}


@pytest.mark.gpu
@dtypes
@pytest.mark.parametrize('name', list(CASES))
def test_values_and_gradients_are_those_of_the_reference(name: str, dtype: torch.dtype) -> None:
    """One operator computes the values and one the gradients, and a graph of the gradients can be differentiated."""
    call, shapes, forward, backward = CASES[name]
    inputs = [normal(N, C, H, W, seed=0, dtype=dtype), *(normal(*shape, seed=i + 1) for i, shape in enumerate(shapes))]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    with Recorder() as seen:
        y = call(*inputs, impl='cuda')
    assert seen.names == [forward]
    expected = call(*wide, impl='ref')
    assert y.dtype == dtype
    assert_close(y, expected, dtype)
    dy = normal(*y.shape, seed=8).detach() * (expected.abs() > 2e-2 * (dtype != torch.float32))  # away from the bend
    dy = dy.to(dtype).requires_grad_()
    wide_dy = dy.detach().double().requires_grad_()
    wanted = torch.autograd.grad(expected, wide, wide_dy, create_graph=True)
    with Recorder() as seen:
        once = torch.autograd.grad(y, inputs, dy, retain_graph=True)
    assert seen.names == [backward]
    again = torch.autograd.grad(y, inputs, dy, create_graph=True)
    for grads in (once, again):
        for t, g, w in zip(inputs, grads, wanted, strict=True):
            assert g.dtype == t.dtype
            # A sum is as exact as its summands are large.
            assert_close(g, w, dtype, scale=1 if g.ndim == 4 and g.shape[1] > 1 else float(wide_dy.detach().norm()))
    v = [torch.ones_like(g) for g in wanted]
    (second,) = torch.autograd.grad(again, dy, [t.to(g.dtype) for t, g in zip(v, again, strict=True)])
    (wanted_second,) = torch.autograd.grad(wanted, wide_dy, v)
    smooth = wide_dy.detach() != 0
    assert_close(second * smooth, wanted_second * smooth, dtype)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, scale: float = 1) -> None:
    assert actual.shape == expected.shape
    atol = TOLERANCE[dtype] * max(float(expected.detach().abs().max()), scale)
    torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.gpu
def test_two_runs_give_the_same_bits() -> None:
    """Many blocks sum the gradients of d, b and the noise."""
    inputs: list[Any] = [normal(2, 64, 65, 65, seed=0), normal(2, 64, seed=1), normal(64, 64, seed=2)]
    inputs.append(normal(64, seed=3))

    def run() -> list[torch.Tensor]:
        y = epilogue(*inputs, impl='cuda')
        return [y.detach(), *torch.autograd.grad(y.square().sum(), inputs)]

    first = run()
    assert all(torch.equal(a, e) for a, e in zip(run(), first, strict=True))


@pytest.mark.gpu
def test_an_image_of_more_elements_than_are_counted_is_refused() -> None:
    x = torch.zeros([1, 1, 1, 1], device=DEVICE).expand(1, 2, 2**15, 2**15)
    with pytest.raises(ValueError, match=r'epilogue: .* more elements'):
        torch.ops.ganfoundry.epilogue(x, None, [0] * 4, None, None, None, 1.0, 1.0, None)
    with pytest.raises(ValueError, match=r'act_fir: .* more elements'):
        torch.ops.ganfoundry.act_fir(x, torch.zeros(2, device=DEVICE), fir(), [2] * 4, 1.0, 1.0, None)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU, which runs these tests itself')
@pytest.mark.skipif(not build.load_cpu(), reason='no native operations')
def test_without_a_gpu_the_tests_above_pass_on_the_cpu() -> None:
    """Compiles the CUDA registrations and kernels for the CPU, in a process of its own."""
    check_on_the_cpu('test_epilogue_cuda.py')
