"""Tests of bias_act: official values, gradients of two orders, and its CPU kernel against the reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import ConfigError
from tests.support.operations import (
    NUM_CASES,
    SETTINGS,
    assert_close,
    assert_equal,
    dtypes,
    image,
    images,
    layouts,
    load_golden,
    needs_kernels,
    rand,
)  # fmt: skip
from torch_utils.ops import bias_act as ba
from torch_utils.ops.bias_act import bias_act


@pytest.mark.parametrize('case', range(NUM_CASES['bias_act']))
def test_bias_act_reproduces_official_values_and_gradients_of_two_orders(case: int) -> None:
    t, args = load_golden('bias_act', case)
    x, b = t['x'].requires_grad_(), t['b'].requires_grad_()
    y = bias_act(x, b, dim=1, **args)
    dx, db = torch.autograd.grad(y, [x, b], t['dy'], create_graph=True)
    assert_equal(y, t['y'])
    assert_equal(dx, t['dx'])
    assert_equal(db, t['db'])
    second = torch.autograd.grad((dx * t['v']).sum(), x, allow_unused=True)[0] if dx.requires_grad else None
    assert_equal(torch.zeros_like(x) if second is None else second, t['d2x'])


@pytest.mark.parametrize('act', list(ba.ACTIVATIONS))
def test_bias_act_is_twice_differentiable(act: str) -> None:
    x, b = rand(2, 3, 4, seed=1), rand(3, seed=2)
    with torch.no_grad():
        x.copy_(torch.where((x + b[:, None]).abs() < 0.05, x + 0.1, x))  # off the kinks

    def op(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return bias_act(x, b, act=act, gain=1.3, clamp=2.0)

    assert gradcheck(op, (x, b))
    assert gradgradcheck(op, (x, b))


def test_bias_act_leaves_its_input_alone_and_keeps_dtype_and_format() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(2, 3, 4, 5).to(dtype).to(memory_format=torch.channels_last)
        before = x.clone()
        for b in (None, torch.zeros(3)):
            y = bias_act(x, b, act='lrelu')
            assert torch.equal(x, before)
            assert y.dtype == dtype
            assert y.is_contiguous(memory_format=torch.channels_last)


def test_bias_act_refuses_what_cannot_work() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="unknown activation 'mish'; known are linear, relu"):
        bias_act(x, act='mish')
    with pytest.raises(ValueError, match='clamp must be at least 0'):
        bias_act(x, clamp=-1)
    with pytest.raises(ValueError, match=r'b must have shape \[3\] for dim=1, got \[2\]'):
        bias_act(x, torch.zeros(2))


@needs_kernels
@SETTINGS
@given(images, dtypes, layouts, st.sampled_from(['linear', 'lrelu']), st.booleans(), st.sampled_from([None, 0.5, 2]),
       st.sampled_from([(None, None), (0.1, 2.0), (0.0, 1.0)]), st.booleans())  # fmt: skip
def test_bias_act_equals_the_reference_with_gradients(
    shape, dtype, layout, act, with_bias, clamp, scales, flat
) -> None:
    """Values, the gradients of x and b, and the gradient of those; also for 2-D features [N, C]."""
    x = image(shape, dtype, layout, seed=1)
    x = x.detach()[:, :, 0, 0].requires_grad_() if flat else x
    b = torch.linspace(-1, 1, shape[1]).requires_grad_() if with_bias else None
    wide = [None if t is None else t.detach().double().requires_grad_() for t in (x, b)]
    args = {'act': act, 'alpha': scales[0], 'gain': scales[1], 'clamp': clamp}
    y, expected = bias_act(x, b, **args, impl='cpu'), bias_act(*wide, **args, impl='ref')
    assert_close(y, expected.to(dtype))
    # Near a jump of the derivative, rounding decides its side.
    smooth = (expected.abs() > 1e-2) & ((expected.abs() - (clamp or 0)).abs() > 2e-2)
    if clamp is not None:
        smooth |= (wide[0] + (0 if b is None else wide[1].reshape(-1, *[1] * (x.ndim - 2)))).abs() > 50
    dy = (torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)) * smooth).to(dtype).requires_grad_()
    wide_dy = dy.detach().double().requires_grad_()
    inputs, wide_inputs = [t for t in (x, b) if t is not None], [t for t in wide if t is not None]
    first = torch.autograd.grad(y, inputs, dy, create_graph=True)
    expected_first = torch.autograd.grad(expected, wide_inputs, wide_dy, create_graph=True)
    for actual, wanted in zip(first, expected_first, strict=True):
        # The error of the bias gradient, a sum, grows with its summands.
        assert_close(actual, wanted.to(actual.dtype), scale=float(wide_dy.detach().norm()) if actual.ndim == 1 else 1)
    v = [torch.randn(t.shape, generator=torch.Generator().manual_seed(3)).to(t.dtype) for t in first]
    (second,) = torch.autograd.grad(first, dy, v)
    (wanted,) = torch.autograd.grad(expected_first, wide_dy, [t.double() for t in v])
    assert_close(second * smooth, (wanted * smooth).to(dtype))


@needs_kernels
def test_what_the_kernels_do_not_know_is_the_reference() -> None:
    """Other activations, a gain that changes signs, and float16."""
    x = torch.randn([2, 3, 4, 4], generator=torch.Generator().manual_seed(0))
    for args in ({'act': 'tanh'}, {'act': 'lrelu', 'gain': -1}, {'act': 'lrelu', 'alpha': -0.5}):
        assert torch.equal(bias_act(x, **args, impl='cpu'), bias_act(x, **args, impl='ref'))
    assert torch.equal(bias_act(x.half(), act='lrelu'), bias_act(x.half(), act='lrelu', impl='ref'))
    with pytest.raises(ConfigError, match='float16'):
        bias_act(x.half(), act='lrelu', impl='cpu')


@needs_kernels
@pytest.mark.parametrize('impl', ['ref', 'cpu'])
def test_what_is_not_a_number_stays_so(impl: str) -> None:
    """Neither the clamp nor the rounding to bfloat16 hides NaN or infinity."""
    x = torch.tensor([[float('nan'), float('inf'), -float('inf'), 3e38]])
    assert bias_act(x, act='lrelu', clamp=2, impl=impl)[0, 1:].tolist() == [2, -2, 2]
    assert bias_act(x, act='lrelu', clamp=2, impl=impl)[0, 0].isnan()
    low = bias_act(x.bfloat16(), act='lrelu', gain=1, impl=impl)[0]
    assert low[0].isnan()
    assert low[1] == float('inf')
    assert low[2] == -float('inf')
