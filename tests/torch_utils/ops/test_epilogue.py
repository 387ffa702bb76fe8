"""Tests of the fused epilogue against the reference: values, gradients, and the form of its backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.operations import SETTINGS, assert_same_bits, needs_kernels
from torch_utils.ops import dispatch
from torch_utils.ops.epilogue import synthesis_epilogue
from torch_utils.ops.modulated_conv2d import modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter

# Relative to the norm. The kernel rounds bfloat16 once.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float64: 1e-12}
FIRS = (
    setup_filter([1, 3, 3, 1]),
    setup_filter([1, 2, 3, 4, 5], separable=True),
    torch.tensor([[1.0, 2, -3], [0.5, 4, 1]]),  # not an outer product
    setup_filter(list(range(1, 13))),
)

Parts = dict[str, torch.Tensor]


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def result_size(h: int, w: int, fir: torch.Tensor | None, padding: tuple[int, ...]) -> tuple[int, int]:
    if fir is None:
        return h, w
    return h + padding[2] + padding[3] - fir.shape[0] + 1, w + padding[0] + padding[1] - fir.shape[-1] + 1


@st.composite
def cases(draw: st.DrawFn) -> tuple[Parts, dict[str, Any]]:
    """Draws the tensors that are differentiated, x among them, and the other arguments."""
    n, c = draw(st.integers(0, 3)), draw(st.sampled_from([1, 3, 8, 17, 600]))
    h, w = draw(st.integers(1, 11)), draw(st.integers(1, 19))
    if draw(st.booleans()):
        h = draw(st.sampled_from([40, 70, 99]))  # several bands
    fir = draw(st.sampled_from([None, *FIRS]))
    padding = (0, 0, 0, 0) if fir is None else draw(st.tuples(*[st.integers(-3, 13)] * 4))
    height, width = result_size(h, w, fir, padding)
    assume(min(height, width) >= 1 and n * c * (h + height) * (w + width) < 500_000)
    # The reference crops by F.pad, which cannot leave an empty image.
    assume(h + min(padding[2], 0) + min(padding[3], 0) > 0 and w + min(padding[0], 0) + min(padding[1], 0) > 0)
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
    x = normal(n, c, h, w, seed=1, dtype=dtype)
    if draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    parts, wide = {'x': x}, torch.promote_types(dtype, torch.float32)
    if draw(st.booleans()):
        parts['demod'] = 0.5 + normal(n, c, seed=2, dtype=wide).abs()
    if noise := draw(st.sampled_from([None, (n, 1, height, width), (height, width)])):
        parts['noise'] = normal(*noise, seed=3, dtype=wide)
    if draw(st.booleans()):
        parts['bias'] = normal(c, seed=4, dtype=wide)
    args = {
        'fir': fir, 'padding': padding, 'fir_gain': 4, 'gain': draw(st.sampled_from([1, 1.5])),
        'act': draw(st.sampled_from(['linear', 'lrelu'])), 'alpha': draw(st.sampled_from([None, 0.0, 0.1])),
        'clamp': draw(st.sampled_from([None, 2])),
    }  # fmt: skip
    return parts, args


def assert_close(actual: torch.Tensor, expected: torch.Tensor, scale: float = 0) -> None:
    assert actual.shape == expected.shape
    error = float((actual.double() - expected).norm())
    assert error <= TOLERANCE[actual.dtype] * max(float(expected.norm()), scale) + 1e-30


def away_from_jumps(wide: Parts, args: dict[str, Any]) -> torch.Tensor:
    """Returns where the derivative does not jump nearby; elsewhere, rounding decides its side."""
    linear, unbounded = (
        synthesis_epilogue(**wide, **{**args, 'clamp': None, **more}, impl='ref').detach().abs()
        for more in ({'act': 'linear'}, {})
    )
    return (linear > 0.03) & ((unbounded - (args['clamp'] or torch.inf)).abs() > 0.1)


@needs_kernels
@SETTINGS
@given(cases())
def test_kernel_equals_the_reference_with_gradients(case: tuple[Parts, dict[str, Any]]) -> None:
    """The kernel against the reference in float64, for both memory formats, with each part present and absent."""
    parts, args = case
    for t in parts.values():
        t.requires_grad_()
    wide = {name: t.detach().double().requires_grad_() for name, t in parts.items()}
    y, expected = synthesis_epilogue(**parts, **args, impl='cpu'), synthesis_epilogue(**wide, **args, impl='ref')
    assert y.dtype == parts['x'].dtype
    assert_close(y.detach(), expected.detach())
    smooth = away_from_jumps(wide, args)
    dy = (normal(*expected.shape, seed=5) * smooth).to(y.dtype)
    grads = torch.autograd.grad(y, list(parts.values()), dy)
    wanted = torch.autograd.grad(expected, list(wide.values()), dy.double())
    for t, g, w in zip(parts.values(), grads, wanted, strict=True):
        assert g.dtype == t.dtype
        # The error of a sum grows with its summands, which were rounded to the dtype of the features.
        assert_close(g.to(y.dtype) if y.dtype == torch.bfloat16 else g, w, scale=float(dy.double().norm()))


@needs_kernels
@SETTINGS
@given(cases(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_second_gradients_equal_those_of_the_reference(case: tuple[Parts, dict[str, Any]], kept: list[bool]) -> None:
    """Gradients of some of the gradients, those with respect to dy among them, against the reference in float64."""
    parts, args = case
    wide = {name: t.detach().double().clone().requires_grad_() for name, t in parts.items()}
    for t in parts.values():
        t.requires_grad_()
    smooth = away_from_jumps(wide, args)
    dy = (normal(*smooth.shape, seed=5) * smooth).to(parts['x'].dtype)
    names = [name for name, keep in zip(parts, kept, strict=False) if keep] or ['x']
    found = []
    for inputs, impl in ((parts, 'cpu'), (wide, 'ref')):
        gradient = dy.to(inputs['x'].dtype).clone().requires_grad_()
        y = synthesis_epilogue(**inputs, **args, impl=impl)
        first = torch.autograd.grad(y, list(inputs.values()), gradient, create_graph=True)
        chosen = [g for g, name in zip(first, inputs, strict=True) if name in names]
        along = [normal(*g.shape, seed=i).to(parts['x'].dtype).to(g.dtype) for i, g in enumerate(chosen)]
        asked = [gradient, *(inputs[name] for name in ('x', 'demod') if name in inputs)]
        second = torch.autograd.grad(chosen, asked, along, allow_unused=True)
        found.append([torch.zeros_like(t) if g is None else g for t, g in zip(asked, second, strict=True)])
    scale = float(dy.double().norm())
    for i, (actual, expected) in enumerate(zip(*found, strict=True)):
        actual = actual.to(dy.dtype) if dy.dtype == torch.bfloat16 else actual  # its tolerance is that of the features
        mask = smooth if i == 0 else torch.ones([], dtype=torch.bool)
        assert_close(actual * mask, expected * mask, scale)


@needs_kernels
@pytest.mark.parametrize('num_threads', [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(num_threads: int) -> None:
    x = normal(2, 16, 97, 65, seed=1, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    tensors = [x, torch.rand(2, 16), torch.randn(96, 64), torch.randn(16)]
    for t in tensors:
        t.requires_grad_()

    def run() -> list[torch.Tensor]:
        y = synthesis_epilogue(tensors[0], FIRS[0], [1] * 4, *tensors[1:], act='lrelu', clamp=1)
        return [y.detach(), *torch.autograd.grad(y, tensors, torch.ones_like(y))]

    assert_same_bits(run, num_threads)


class Recorder(TorchDispatchMode):
    """Names of the project's own operators that run, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == 'ganfoundry':
            self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


@needs_kernels
def test_both_gradients_are_one_pass_each_and_a_third_the_composite() -> None:
    inputs = small_case()
    x, d, noise, b = inputs
    y = synthesis_epilogue(x, FIRS[0], [1] * 4, d, noise, b, act='lrelu', impl='cpu')
    with Recorder() as plain:
        first = torch.autograd.grad(y.sum(), inputs, retain_graph=True)
    with Recorder() as graph:
        again = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
    assert plain.names == graph.names == ['epilogue_backward']
    with Recorder() as second:
        one_pass = torch.autograd.grad(again[0].square().sum(), inputs[:2], retain_graph=True)
    assert second.names == ['epilogue_second', 'epilogue_backward']  # the latter because y.square() has a gradient, too
    with Recorder() as third:
        by_parts = torch.autograd.grad(again[0].square().sum(), inputs[:2], create_graph=True)
    assert 'epilogue_second' not in third.names
    assert {'bias_act_grad', 'upfirdn2d'} <= set(third.names)
    assert all(g.shape == t.shape for g, t in zip(first, inputs, strict=True))
    for a, e in zip(one_pass, by_parts, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-12)


@needs_kernels
def test_a_layer_is_a_convolution_and_an_epilogue() -> None:
    """The forward pass in the networks' memory format runs no other operator of ours; both implementations agree."""
    x = normal(2, 4, 8, 8, seed=1, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    w, s, b = torch.randn(6, 4, 3, 3), torch.randn(2, 4), torch.randn(6)
    for up, k in ((1, 3), (2, 3), (1, 1)):
        noise = torch.randn(8 * up, 8 * up)
        args = {'up': up, 'padding': k // 2, 'resample_filter': FIRS[0], 'gain': 1.4, 'act': 'lrelu', 'clamp': 1}
        with Recorder() as seen:
            y = modulated_conv2d(x, w[:, :, :k, :k], s, noise, bias=b, **args)
        # The first epilogue scales the input, for which a kernel per sample needs none.
        assert seen.names == ['lowered_weights', *['epilogue'] * (1 if k == 1 else 2)]
        with dispatch.default('ref'):
            expected = modulated_conv2d(x, w[:, :, :k, :k], s, noise, bias=b, **args)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


def small_case() -> list[torch.Tensor]:
    """Returns x, demod, noise and bias in float64, away from the points where the gradient jumps."""
    x = normal(2, 3, 5, 4, seed=0).contiguous(memory_format=torch.channels_last)
    return [
        t.requires_grad_() for t in (x, 0.5 + torch.rand(2, 3).double(), normal(2, 1, 4, 3, seed=1), normal(3, seed=2))
    ]


def test_the_reference_says_what_the_sum_is() -> None:
    x, d, noise, b = small_case()
    y = synthesis_epilogue(x[..., :4, :3], None, [0] * 4, d, noise, b, act='lrelu', gain=1.5, clamp=2, impl='ref')
    v = d[:, :, None, None] * x[..., :4, :3] + noise + b[:, None, None]
    expected = (1.5 * torch.where(v > 0, v, 0.2 * v)).clamp(-2, 2)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ({'act': 'tanh'}, "act 'tanh', known are linear, lrelu"),
        ({'gain': 0}, 'positive gain=0'),
        ({'clamp': -1}, 'clamp=-1'),
        ({'act': 'lrelu', 'alpha': -0.1}, 'alpha=-0.1'),
        ({'padding': [1, 1, 1, 1]}, 'fir is None'),
        ({'fir': torch.ones(5, 5)}, 'leave nothing'),
        ({'demod': torch.ones(3)}, r'demod must be \[2, 3\], got \[3\]'),
        ({'noise': torch.ones(2, 1, 3, 4)}, r'noise must be \[2, 1, 4, 4\] or \[4, 4\]'),
        ({'bias': torch.ones(2)}, r'bias must be \[3\], got \[2\]'),
    ],
)
def test_arguments_that_cannot_work_are_refused_by_name(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesis_epilogue(torch.zeros(2, 3, 4, 4), **args)
