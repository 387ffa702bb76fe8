"""Tests of the folded convolutions against the plain ones: values and gradients of two orders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from torch_utils.ops import folded_conv
from torch_utils.ops.folded_conv import down_conv2d, up_conv2d

Conv = Callable[..., torch.Tensor]
CASES = [(up_conv2d, (4, 4)), (up_conv2d, (5, 3)), (up_conv2d, (1, 1)), (down_conv2d, (6, 4)), (down_conv2d, (2, 2))]


def rand(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def two_orders(
    conv: Conv, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, fold: bool
) -> list[torch.Tensor]:
    """Returns the result, its gradients, and the gradients of a non-linear function of those."""
    inputs = [t.clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    y = conv(*inputs, fold=fold)
    first = torch.autograd.grad(y.square().sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum((g.square() * g).sum() for g in first), inputs)
    return [t.detach() for t in (y, *first, *second)]


@pytest.mark.parametrize('with_bias', [False, True])
@pytest.mark.parametrize(('conv', 'size'), CASES)
def test_folding_changes_no_value_and_no_gradient_of_two_orders(
    conv: Conv, size: tuple[int, int], with_bias: bool
) -> None:
    x, weight = rand(2, 3, *size, seed=0), rand(5, 3, 3, 3, seed=1)
    bias = rand(5, seed=2) if with_bias else None
    plain, folded = (two_orders(conv, x, weight, bias, fold) for fold in (False, True))
    assert len(plain) == len(folded) == (7 if with_bias else 5)
    for expected, actual in zip(plain, folded, strict=True):
        assert actual.dtype == torch.float64
        assert float(expected.abs().max()) > 0
        assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-12


@pytest.mark.parametrize('fold', [False, True, None])
def test_sizes_double_and_halve(fold: bool | None) -> None:
    x, weight = rand(2, 3, 6, 4, seed=0), rand(5, 3, 3, 3, seed=1)
    assert up_conv2d(x, weight, fold=fold).shape == (2, 5, 12, 8)
    assert down_conv2d(x, weight, fold=fold).shape == (2, 5, 3, 2)


@pytest.mark.parametrize('size', [(5, 4), (4, 5)])
@pytest.mark.parametrize('fold', [False, True, None])
def test_pooling_an_odd_size_is_refused(size: tuple[int, int], fold: bool | None) -> None:
    with pytest.raises(ValueError, match=r'must be even, got \[2, 3, .*\]'):
        down_conv2d(rand(2, 3, *size, seed=0), rand(5, 3, 3, 3, seed=1), fold=fold)


@pytest.mark.parametrize('conv', [up_conv2d, down_conv2d])
@pytest.mark.parametrize('fold', [False, True])
def test_bfloat16_stays_close_and_keeps_dtype_and_memory_format(conv: Conv, fold: bool) -> None:
    x, weight, bias = rand(4, 16, 8, 8, seed=0), rand(8, 16, 3, 3, seed=1).float(), rand(8, seed=2).float()
    expected = conv(x, weight.double(), bias.double(), fold=False)
    low = x.to(torch.bfloat16).to(memory_format=torch.channels_last)
    y = conv(low, weight, bias, fold=fold)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert 0 < float((y - expected).norm() / expected.norm()) < 0.01


def test_a_low_precision_weight_is_folded_in_float32() -> None:
    weight = torch.full([1, 1, 3, 3], 1.0)
    weight[0, 0, 0, 0] = 2**-9  # lost when added to 1 in bfloat16, which keeps 8 bits
    assert float(folded_conv._folded(weight.to(torch.bfloat16))[0, 0, 1, 0]) == 1 + 2**-9


def test_without_a_choice_the_rule_of_the_device_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(folded_conv.FOLD_FROM, 'cpu', {'up': 16, 'down': 36})
    weight = rand(5, 3, 3, 3, seed=1).float()
    for conv, size, faster in ((up_conv2d, 2, False), (up_conv2d, 4, True), (down_conv2d, 4, False),
                               (down_conv2d, 6, True)):  # fmt: skip
        x = rand(2, 3, size, size, seed=0).float()
        assert torch.equal(conv(x, weight), conv(x, weight, fold=faster))
        assert not torch.equal(conv(x, weight), conv(x, weight, fold=not faster))


def test_a_device_that_was_not_measured_takes_the_plain_form() -> None:
    for op in ('up', 'down'):
        assert folded_conv.folds(op, torch.empty(1, 1, 64, 64))
        assert not folded_conv.folds(op, torch.empty(1, 1, 64, 64, device='meta'))
