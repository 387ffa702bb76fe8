"""Tests of the modulated convolution of several tensors against that of their concatenation."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from tests.torch_utils.ops.test_golden import close
from torch_utils.ops.modulated_conv2d import modulated_conv2d
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
    close(y, expected)
    dy = torch.randn_like(y)
    for a, b in zip(*(torch.autograd.grad(v, leaves, dy) for v in (y, expected)), strict=True):
        close(a, b)


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
