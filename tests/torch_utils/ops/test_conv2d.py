"""Tests of the convolutions with a cheap second derivative; tests/contracts/test_every_op.py compares the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.operations import assert_same_bits
from torch_utils.ops import dispatch
from torch_utils.ops.conv2d import conv2d, conv_transpose2d
from torch_utils.ops.registry import sample_tensor
from torch_utils.ops.toolchain import build
from torch_utils.ops.toolchain.cpu_toolchain import cpu_features

CPU = torch.device('cpu')
PAIRS = [(conv2d, F.conv2d), (conv_transpose2d, F.conv_transpose2d)]
# As in csrc/conv2d/weight_gradient.h.
MULTIPLIES_PAIRS = {'avx512_bf16', 'avx512bw'} <= set(cpu_features()) and 'amx_bf16' not in cpu_features()
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


class Operators(TorchDispatchMode):
    """Names of the operators that run, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func._opname)
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


# Sizes of x and of the weight, stride, padding: odd sizes, one row, blocks of 32 and 64 channels, several packs and
# parts, small images that share a pack.
GRADIENTS = [
    ([2, 32, 9, 7], [32, 32, 3, 3], 1, 1), ([1, 64, 40, 33], [96, 64, 3, 3], 1, 1),
    ([3, 32, 17, 17], [64, 32, 3, 3], 2, 0), ([2, 96, 8, 8], [64, 96, 1, 1], 1, 0),
    ([5, 32, 4, 4], [192, 32, 3, 3], 1, 1), ([1, 32, 1, 70], [32, 32, 1, 3], 1, (0, 2)),
    ([7, 128, 5, 6], [160, 128, 5, 3], (2, 1), (1, 0)), ([0, 32, 4, 4], [32, 32, 3, 3], 1, 1),
]  # fmt: skip


def weight_gradient(dy: torch.Tensor, x: torch.Tensor, w: torch.Tensor, stride: Any, padding: Any) -> torch.Tensor:
    pair = lambda value: [value, value] if isinstance(value, int) else list(value)  # noqa: E731
    return torch.ops.ganfoundry.conv2d_weight_gradient(dy, x, list(w.shape[2:]), pair(stride), pair(padding))


@needs_operators
@pytest.mark.parametrize(('size', 'weight', 'stride', 'padding'), GRADIENTS)
def test_the_kernel_of_the_weight_gradient_equals_float64(size: Any, weight: Any, stride: Any, padding: Any) -> None:
    x = sample_tensor(size, CPU, torch.bfloat16).contiguous(memory_format=torch.channels_last)
    w = sample_tensor(weight, CPU, torch.bfloat16, 1).double().requires_grad_()
    y = F.conv2d(x.double(), w, stride=stride, padding=padding)
    dy = sample_tensor(y.shape, CPU, torch.bfloat16, 2).contiguous(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(y, w, dy.double())
    dw = weight_gradient(dy, x, w, stride, padding)
    assert dw.dtype == torch.bfloat16
    assert dw.is_contiguous(memory_format=torch.channels_last)
    # Half a place of bfloat16, and the rounding of sums in float32.
    assert bool(((dw.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-4).all())
    checks = ('test_schema', 'test_faketensor')
    args = (dy, x, weight[2:], [stride] * 2 if isinstance(stride, int) else stride, [0, 0])
    torch.library.opcheck(torch.ops.ganfoundry.conv2d_weight_gradient.default, args, test_utils=checks)


@needs_operators
@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_the_weight_gradient_has_the_same_bits_for_any_number_of_threads(num_threads: int) -> None:
    x, dy = (sample_tensor([4, c, 31, 30], CPU, torch.bfloat16, c) for c in (64, 160))
    w = torch.empty(160, 64, 3, 3)
    assert_same_bits(lambda: [weight_gradient(dy, x, w, 1, 1)], num_threads)


@needs_operators
def test_the_kernel_takes_what_it_can_compute_and_names_the_rest() -> None:
    x, w = torch.zeros(1, 32, 4, 4, dtype=torch.bfloat16), torch.empty(32, 32, 3, 3)
    with pytest.raises(ValueError, match='multiples of 32 channels'):
        weight_gradient(x[:, :30], x, w, 1, 1)
    with pytest.raises(ValueError, match='of the same images'):
        weight_gradient(x.repeat(2, 1, 1, 1), x, w, 1, 1)
    with pytest.raises(TypeError, match='takes bfloat16, got BFloat16 and Float'):
        weight_gradient(x, x.float(), w, 1, 1)


@pytest.mark.skipif(
    not MULTIPLIES_PAIRS, reason='this CPU has no AVX512-BF16, or has AMX: oneDNN computes the gradient'
)
@needs_operators
@pytest.mark.parametrize(('own', 'given'), PAIRS)
@pytest.mark.parametrize('stride', [1, 2])
def test_large_weight_gradients_run_in_the_kernel_to_any_order(own: Any, given: Any, stride: int) -> None:
    x, w = (sample_tensor(size, CPU, torch.bfloat16, i) for i, size in enumerate(([2, 32, 71, 64], [32, 32, 3, 3])))
    inputs = [t.contiguous(memory_format=torch.channels_last).requires_grad_() for t in (x, w)]
    with Operators() as seen:
        results = penalty(own, inputs, stride=stride)
    # The gradient of dx = A(dy, w) in w, and that of y in w.
    assert seen.names.count('conv2d_weight_gradient') == 2
    assert seen.names.count('convolution_backward') == 2, 'dx of the first gradient, and of the second'
    wide = [t.detach().double().requires_grad_() for t in inputs]
    for a, b in zip(results, penalty(given, wide, stride=stride), strict=True):
        assert float((a.detach().double() - b.detach()).norm()) <= 2e-2 * float(b.detach().norm())


@needs_operators
@pytest.mark.parametrize('change', ['small', 'groups', 'dilation', 'NCHW', 'channels', 'float32'])
def test_other_weight_gradients_are_pytorchs(change: str) -> None:
    size = [2, 32, 8, 8] if change == 'small' else [2, 48 if change == 'channels' else 64, 64, 64]
    groups = 2 if change == 'groups' else 1
    x, w = (sample_tensor(s, CPU, torch.bfloat16, i) for i, s in enumerate((size, [64, size[1] // groups, 3, 3])))
    layout = torch.contiguous_format if change == 'NCHW' else torch.channels_last
    dtype = torch.float32 if change == 'float32' else torch.bfloat16
    inputs = [t.to(dtype).contiguous(memory_format=layout).requires_grad_() for t in (x, w)]
    with Operators() as seen:
        y = conv2d(*inputs, padding=1, groups=groups, dilation=2 if change == 'dilation' else 1)
        torch.autograd.grad(y.sum(), inputs)
    assert 'conv2d_weight_gradient' not in seen.names


@needs_operators
def test_gradients_of_weights_are_traced_with_symbolic_sizes() -> None:
    x, w = (sample_tensor(s, CPU, torch.bfloat16, i) for i, s in enumerate(([2, 32, 64, 64], [32, 32, 3, 3])))
    inputs = [t.contiguous(memory_format=torch.channels_last) for t in (x, w)]

    def gradients(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        return torch.autograd.grad(conv2d(x, w, padding=1).square().sum(), [x, w])

    traced = make_fx(gradients, tracing_mode='symbolic')(*inputs)
    for a, b in zip(traced(*inputs), gradients(*inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)
