"""Tests of the convolutions with a cheap second derivative; tests/contracts/test_every_op.py compares the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from torch_utils.ops import dispatch
from torch_utils.ops.conv2d import conv2d, conv_transpose2d
from torch_utils.ops.registry import sample_tensor
from torch_utils.ops.toolchain import build

CPU = torch.device('cpu')
PAIRS = [(conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)]
needs_operators = pytest.mark.skipif(not build.load_cpu(), reason=f'no native operations: {build.load_cpu().problem}')


class Convolutions(TorchDispatchMode):
    """The sides of the kernels of convolutions, and the masks of their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[int] = []
        self.masks: list[list[bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.sides.append(max(args[1].shape[2:]))
        if func is torch.ops.aten.convolution_backward.default:
            self.masks.append(args[10])
        return func(*args, **(kwargs or {}))


def tensors(dtype: torch.dtype, last: bool = False, side: int = 8) -> list[torch.Tensor]:
    """Returns features [2, 4, side, side], a kernel [4, 4, 3, 3] and a bias [4] that require gradients."""
    layout = torch.channels_last if last else torch.contiguous_format
    x, w = (sample_tensor(size, CPU, dtype, i) for i, size in enumerate(([2, 4, side, side], [4, 4, 3, 3])))
    x, w = (t.contiguous(memory_format=layout).requires_grad_() for t in (x, w))
    return [x, w, sample_tensor([4], CPU, dtype, 2).requires_grad_()]


def penalty(conv: Callable[..., torch.Tensor], inputs: list[torch.Tensor], **options: Any) -> list[torch.Tensor]:
    """Returns the result, its gradient in the features, and the gradients of a penalty on that."""
    y = conv(*inputs, **options)
    (gradient,) = torch.autograd.grad(y.square().sum(), inputs[:1], create_graph=True)
    return [y, gradient, *torch.autograd.grad(gradient.square().sum(), inputs)]


@needs_operators
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize(('own', 'given'), PAIRS)
def test_no_kernel_of_the_second_derivative_is_as_large_as_a_feature_map(own: Any, given: Any, stride: int) -> None:
    largest = []
    for conv in (own, given):
        with Convolutions() as seen:
            penalty(conv, tensors(torch.float32), stride=stride, padding=1)
        largest.append(max(seen.sides))
    assert largest[0] <= 3 < largest[1], "those of PyTorch's own second derivative are"


@needs_operators
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(('own', 'given'), PAIRS)
def test_values_and_first_gradients_are_pytorchs_bit_for_bit(own: Any, given: Any, dtype: torch.dtype) -> None:
    for last in (False, True):
        inputs = tensors(dtype, last)
        results = []
        for conv in (own, given):
            y = conv(*inputs, stride=2, padding=1)
            results.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
        for a, b in zip(*results, strict=True):
            assert torch.equal(a, b)
            assert a.stride() == b.stride()
        for a, b in zip(penalty(own, inputs), penalty(given, inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-2)


@needs_operators
def test_only_gradients_that_a_call_asks_for_are_computed() -> None:
    inputs = tensors(torch.float32)
    with Convolutions() as seen:
        y = conv2d(*inputs)
        torch.autograd.grad(y.sum(), inputs[:1], retain_graph=True)
        (gradient,) = torch.autograd.grad(y.square().sum(), inputs[:1], create_graph=True)
        torch.autograd.grad(gradient.sum(), inputs[1:2])
    only_x, only_w = [True, False, False], [False, True, False]
    # The last call has two: B(dy, gx), and the gradient of the convolution through dy, a function of the weight.
    assert seen.masks == [only_x, only_x, only_w, only_w]


@needs_operators
@pytest.mark.parametrize(('own', 'given'), PAIRS)
def test_the_third_derivative_is_that_of_finite_differences(own: Any, given: Any) -> None:
    def second(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(penalty_graph(own, inputs))

    assert gradcheck(second, [t.requires_grad_() for t in small()])


def small() -> list[torch.Tensor]:
    """Returns features [1, 1, 3, 3], a kernel [1, 1, 2, 2] and a bias [1] in float64."""
    return [sample_tensor(size, CPU, torch.float64, i) for i, size in enumerate(([1, 1, 3, 3], [1, 1, 2, 2], [1]))]


def penalty_graph(conv: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Returns the gradients of a penalty on the gradients of all inputs, with their graph."""
    first = torch.autograd.grad(conv(*inputs, stride=2, padding=1).pow(3).sum(), inputs, create_graph=True)
    return list(torch.autograd.grad(sum(g.square().sum() for g in first), inputs, create_graph=True))


@needs_operators
def test_the_gradient_of_the_bias_has_a_derivative_of_its_own() -> None:
    x, w, b = tensors(torch.float64)
    y = conv2d(x, w, b)
    (db,) = torch.autograd.grad(y.square().sum(), [b], create_graph=True)
    (again,) = torch.autograd.grad(db.sum(), [b])
    assert torch.allclose(again, torch.full_like(b, 2.0 * y[:, 0].numel()))


@needs_operators
def test_the_library_is_used_where_it_is_and_its_absence_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x = torch.zeros(2)
    assert dispatch.has_operators(x)
    assert dispatch.has_operators(x.half())  # no kernels, hence every dtype
    assert not dispatch.has_operators(x.to('meta'))
    with dispatch.default('ref'):
        assert not dispatch.has_operators(x)
    monkeypatch.setattr(build, 'load_cpu', lambda: build.Loaded(problem='there is no g++'))
    dispatch._say_once.cache_clear()
    assert not dispatch.has_operators(x)
    assert dispatch.pick('auto', x) == 'ref'  # the same problem: no second line
    said = capsys.readouterr().err
    assert said == f'operations: there is no g++. The reference runs instead: {dispatch.REFERENCE_COST["cpu"]}\n'
    inputs = tensors(torch.float32)
    with Convolutions() as seen:
        penalty(conv2d, inputs)
    assert max(seen.sides) > 3
