"""Tests of the fused activation and filter against the two operations, and of a discriminator's layers that use it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.operations import assert_same_bits, needs_kernels
from tests.torch_utils.ops.test_epilogue import FIRS, Recorder, assert_close, normal, result_size
from torch_utils.ops import dispatch
from torch_utils.ops.act_fir import act_fir
from training.networks.layers import Conv2d

SETTINGS = settings(max_examples=120, deadline=None, derandomize=True)
images = st.tuples(st.integers(0, 3), st.sampled_from([1, 3, 8, 17, 600]), st.sampled_from([1, 2, 7, 40, 99]),
                   st.integers(1, 19))  # fmt: skip


@needs_kernels
@SETTINGS
@given(images, st.sampled_from(FIRS), st.tuples(*[st.integers(-3, 13)] * 4), st.booleans(), st.booleans(),
       st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), st.sampled_from([None, 1.5]),
       st.sampled_from([('linear', None), ('lrelu', None), ('lrelu', 0.0)]))  # fmt: skip
def test_kernel_equals_the_reference_with_gradients(
    shape, fir, padding, channels_last, with_bias, dtype, clamp, act
) -> None:
    n, c, h, w = shape
    height, width = result_size(h, w, fir, padding)
    assume(min(height, width) >= 1 and n * c * (h + height) * (w + width) < 500_000)
    # The reference crops by F.pad, which cannot leave an empty image.
    assume(h + min(padding[2], 0) + min(padding[3], 0) > 0 and w + min(padding[0], 0) + min(padding[1], 0) > 0)
    x, b = normal(*shape, seed=1), torch.linspace(-1, 1, c) if with_bias else None
    v = x if b is None else x + b[:, None, None]
    # Near a jump of the derivative, rounding decides its side.
    x[(v.abs() < 0.05) | ((1.3 * v.abs() - 1.5).abs() < 0.1) | ((0.26 * v.abs() - 1.5).abs() < 0.1)] = 3
    x = x.to(dtype, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    inputs = [t.requires_grad_() for t in (x, b) if t is not None]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    args = (fir, padding, act[0], act[1], 1.3, clamp)
    y, expected = act_fir(x, b, *args, impl='cpu'), act_fir(wide[0], None if b is None else wide[1], *args, impl='ref')
    assert y.dtype == dtype
    assert_close(y.detach(), expected.detach())
    dy = normal(*expected.shape, seed=5).to(dtype)
    grads, wanted = torch.autograd.grad(y, inputs, dy), torch.autograd.grad(expected, wide, dy.double())
    for t, g, e in zip(inputs, grads, wanted, strict=True):
        assert g.dtype == t.dtype
        # The error of a sum grows with its summands, which were rounded to the dtype of the features.
        assert_close(g.to(dtype) if dtype == torch.bfloat16 else g, e, scale=float(dy.double().norm()))


def small_case() -> tuple[torch.Tensor, torch.Tensor]:
    x = normal(2, 3, 5, 4, seed=0).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), normal(3, seed=2).requires_grad_()


@needs_kernels
def test_a_gradient_is_one_pass_and_a_graph_of_it_the_composite() -> None:
    x, b = small_case()
    y = act_fir(x, b, FIRS[0], [2] * 4, act='lrelu', impl='cpu')
    with Recorder() as plain:
        first = torch.autograd.grad(y.sum(), [x, b], retain_graph=True)
    assert plain.names == ['act_fir_backward']
    with Recorder() as graph:
        second = torch.autograd.grad(y.sum(), [x, b], create_graph=True)
    assert 'act_fir_backward' not in graph.names
    assert {'bias_act_grad', 'upfirdn2d'} <= set(graph.names)
    for a, e in zip(first, second, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


@needs_kernels
@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    x = normal(2, 16, 97, 65, seed=1, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    b = torch.zeros(16, requires_grad=True)
    x.requires_grad_()

    def run() -> list[torch.Tensor]:
        y = act_fir(x, b, FIRS[0], [2] * 4, act='lrelu', clamp=1)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, b])]

    assert_same_bits(run, num_threads)


@pytest.mark.parametrize('impl', ['ref', 'auto'])
def test_one_layer_after_another_is_the_two_layers(impl: str) -> None:
    """Layers with gains and clamps of their own, to the first and the second order."""
    torch.manual_seed(0)
    first, second = Conv2d(4, 6, 3, conv_clamp=0.8).double(), Conv2d(6, 5, 3, down=2, conv_clamp=1.1).double()
    x = normal(2, 4, 8, 8, seed=1).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = [p for layer in (first, second) for p in layer.parameters()]
    results = []
    with dispatch.default(impl):
        for y in (second.after(first, x, gain=0.7), second(first(x), gain=0.7)):
            (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            grads = torch.autograd.grad(y.square().sum() + dx.square().sum(), weights, allow_unused=True)
            results.append([y, dx, *grads])
    for a, e in zip(*results, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=1e-12)


def test_arguments_that_cannot_work_are_refused_by_name() -> None:
    x = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match="act 'tanh', known are linear, lrelu"):
        act_fir(x, None, FIRS[0], [1] * 4, act='tanh')
    with pytest.raises(ValueError, match='positive gain=-1'):
        act_fir(x, None, FIRS[0], [1] * 4, gain=-1)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        with pytest.raises(ValueError, match='nothing is left'):
            act_fir(x.contiguous(memory_format=memory_format), None, torch.ones(5, 5), [0] * 4)
