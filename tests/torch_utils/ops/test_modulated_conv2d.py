"""Tests of the modulated convolution: official values, its definition, and several tensors as one input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from tests.support.operations import NUM_CASES, assert_equal, load_golden, rand
from torch_utils.ops.modulated_conv2d import demodulation, modulated_conv2d
from torch_utils.ops.upfirdn2d import setup_filter

SIZES = (2, 4, 1)  # channels of the parts


def inputs(k: int, size: int = 4) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns parts, weight, styles and bias, all with a gradient."""
    g = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()

    return [rand(3, c, size, size) for c in SIZES], rand(5, sum(SIZES), k, k), rand(3, sum(SIZES)), rand(5)


def assert_same(y: torch.Tensor, expected: torch.Tensor, leaves: list[torch.Tensor]) -> None:
    """Checks values and gradients to 1e-12 of the largest."""
    assert_equal(y, expected)
    dy = torch.randn_like(y)
    for a, b in zip(*(torch.autograd.grad(v, leaves, dy) for v in (y, expected)), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('demodulate', [True, False])
@pytest.mark.parametrize(
    ('k', 'up', 'down', 'by_sample'),
    [(1, 1, 1, False), (1, 1, 1, True), (3, 1, 1, None), (3, 2, 1, None), (1, 2, 1, None), (3, 1, 2, None)],
)
def test_a_sequence_is_its_concatenation(
    k: int, up: int, down: int, by_sample: bool | None, demodulate: bool, memory_format: torch.memory_format
) -> None:
    parts, weight, styles, bias = inputs(k)
    noise = torch.randn(4 * up // down, 4 * up // down, dtype=torch.float64)

    def op(x: torch.Tensor | list[torch.Tensor], by_sample: bool | None) -> torch.Tensor:
        f = setup_filter([1, 3, 3, 1])
        after = {'bias': bias, 'act': 'lrelu', 'gain': 1.3, 'clamp': 2.0}
        return modulated_conv2d(x, weight, styles, noise, up, down, k // 2, f, demodulate, by_sample=by_sample, **after)

    laid_out = [part.to(memory_format=memory_format) for part in parts]
    plain = op(torch.cat(parts, dim=1), by_sample=None if by_sample is None else False)
    assert_same(op(laid_out, by_sample), plain, [*parts, weight, styles, bias])


@pytest.mark.parametrize('by_sample', [True, False])
def test_a_sequence_is_twice_differentiable(by_sample: bool) -> None:
    parts, weight, styles, bias = inputs(1, size=2)

    def op(weight: torch.Tensor, styles: torch.Tensor, bias: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
        return modulated_conv2d(parts, weight, styles, bias=bias, gain=1.4, by_sample=by_sample)

    assert gradcheck(op, (weight, styles, bias, *parts))
    assert gradgradcheck(op, (weight, styles, bias, *parts))


@torch.no_grad()
@pytest.mark.parametrize('by_sample', [True, False])
def test_float16_parts_do_not_overflow_however_large_weights_and_styles_are(by_sample: bool) -> None:
    parts = [torch.randn(2, 16, 8, 8) for _ in range(2)]
    w, s = torch.randn(16, 32, 1, 1) * 3e3, torch.randn(2, 32) * 1e4
    y = modulated_conv2d([part.half() for part in parts], w, s, by_sample=by_sample)
    expected = modulated_conv2d(parts, w, s, by_sample=by_sample)
    assert y.dtype == torch.float16
    assert float((y.float() - expected).norm() / expected.norm()) < 0.01


@pytest.mark.parametrize(('k', 'args'), [(3, {'padding': 1}), (1, {'up': 2}), (1, {'padding': 1})])
def test_kernels_for_every_sample_are_refused_where_they_do_not_apply(k: int, args: dict[str, int]) -> None:
    parts, weight, styles, _ = inputs(k)
    with pytest.raises(AssertionError, match='by_sample'):
        modulated_conv2d(parts, weight, styles, by_sample=True, **args)


@pytest.mark.parametrize('case', range(NUM_CASES['modulated_conv2d']))
def test_modulated_conv2d_reproduces_official_values_and_gradients(case: int) -> None:
    t, args = load_golden('modulated_conv2d', case)
    padding = args.pop('kh') // 2
    x, w, s = (t[name].requires_grad_() for name in 'xws')
    f = setup_filter([1, 3, 3, 1])
    y = modulated_conv2d(x, w, s, padding=padding, resample_filter=f, **args)
    assert_equal(y, t['y'])
    for actual, name in zip(torch.autograd.grad(y, [x, w, s], t['dy']), ('gx', 'gw', 'gs'), strict=True):
        assert_equal(actual, t[name])


def per_sample_kernels(x: torch.Tensor, w: torch.Tensor, s: torch.Tensor, demodulate: bool) -> torch.Tensor:
    """Returns the definition: every sample's own kernel, normalized, Eqs. (1) and (3)."""
    kernels = w * s[:, None, :, None, None]
    if demodulate:
        kernels = kernels * (kernels.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    return torch.cat([F.conv2d(x[i : i + 1], kernels[i], padding=w.shape[-1] // 2) for i in range(len(x))])


@pytest.mark.parametrize(('k', 'size', 'demodulate'), [(3, 5, True), (1, 6, False), (1, 3, False), (1, 3, True)])
def test_modulated_conv2d_is_a_convolution_by_each_samples_kernel(k: int, size: int, demodulate: bool) -> None:
    x, w, s = rand(2, 3, size, size), rand(4, 3, k, k, seed=1), rand(2, 3, seed=2)
    y = modulated_conv2d(x, w, s, padding=k // 2, demodulate=demodulate)
    expected = per_sample_kernels(x, w, s, demodulate)
    assert_equal(y, expected)
    for a, b in zip(*(torch.autograd.grad(v.square().sum(), [x, w, s]) for v in (y, expected)), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize(('k', 'up', 'demodulate'), [(3, 1, True), (3, 2, True), (1, 1, False)])
def test_modulated_conv2d_is_twice_differentiable(k: int, up: int, demodulate: bool) -> None:
    f = setup_filter([1, 3, 3, 1])
    size = 2 if k == 3 else 4
    x, w, s, noise = (
        rand(2, 2, size, size),
        rand(2, 2, k, k, seed=1),
        rand(2, 2, seed=2),
        rand(2, 1, size * up, size * up, seed=3),
    )

    def op(x: torch.Tensor, w: torch.Tensor, s: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return modulated_conv2d(x, w, s, noise if demodulate else None, up, 1, k // 2, f, demodulate, gain=1.4)

    inputs = (x, w, s, noise if demodulate else noise.detach())
    assert gradcheck(op, inputs)
    assert gradgradcheck(op, inputs)


def test_modulated_conv2d_adds_noise_after_demodulation_and_scales_both() -> None:
    x, w, s, noise = rand(2, 3, 4, 4), rand(5, 3, 3, 3, seed=1), rand(2, 3, seed=2), rand(4, 4, seed=3)
    for demodulate in (True, False):
        y = modulated_conv2d(x, w, s, noise, padding=1, demodulate=demodulate, gain=1.7)
        plain = modulated_conv2d(x, w, s, padding=1, demodulate=demodulate)
        assert_equal(y, 1.7 * (plain + noise))


def test_demodulation_is_the_norm_of_the_scaled_kernel() -> None:
    w, s = rand(4, 3, 3, 3), rand(2, 3, seed=1)
    scaled = w * s[:, None, :, None, None]
    assert_equal(demodulation(w, s), 1 / (scaled.square().sum([2, 3, 4]) + 1e-8).sqrt())


def test_modulated_conv2d_in_bfloat16_is_as_close_as_its_digits_allow() -> None:
    x, w, s = torch.randn(2, 16, 8, 8), torch.randn(16, 16, 3, 3), torch.randn(2, 16) + 1
    f = setup_filter([1, 3, 3, 1])
    for up in (1, 2):
        y, expected = (
            modulated_conv2d(x.to(t), w, s, up=up, padding=1, resample_filter=f)
            for t in (torch.bfloat16, torch.float32)
        )
        assert y.dtype == torch.bfloat16
        assert float((y.float() - expected).norm() / expected.norm()) < 0.02


def test_float16_does_not_overflow_however_large_weights_and_styles_are() -> None:
    x, w, s = torch.randn(2, 16, 8, 8), torch.randn(16, 16, 3, 3) * 3e3, torch.randn(2, 16) * 1e4
    y, expected = (modulated_conv2d(x.to(t), w, s, padding=1) for t in (torch.float16, torch.float32))
    assert y.dtype == torch.float16
    assert bool(y.isfinite().all())
    assert float((y.float() - expected).norm() / expected.norm()) < 0.01
