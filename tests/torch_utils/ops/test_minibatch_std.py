"""Minibatch standard deviation: groups, layouts, and the form with few launches under penalties and for CUDA."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.minibatch_std import append_minibatch_std

both_forms = pytest.mark.parametrize('fused', [False, True])
layouts = pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])


@both_forms
def test_it_is_shared_by_the_samples_of_a_group(fused: bool) -> None:
    x = torch.randn(6, 4, 3, 5)
    y = append_minibatch_std(x, 3, 2, fused)  # groups {0, 2, 4} and {1, 3, 5}
    assert y.shape == (6, 6, 3, 5)
    assert torch.equal(y[:, :4], x)
    expected = (x[1::2, 2:].var(0, correction=0) + 1e-8).sqrt().mean()
    torch.testing.assert_close(y[[1, 3, 5], 5], expected.expand(3, 3, 5))


@both_forms
def test_groups_that_do_not_divide_the_batch_are_refused(fused: bool) -> None:
    with pytest.raises(ConfigError, match='mbstd_group=4: a micro-batch of 6 images'):
        append_minibatch_std(torch.randn(6, 4, 4, 4), 4, 1, fused)


def test_equal_samples_have_finite_gradients() -> None:
    x = torch.ones(4, 2, 3, 3).requires_grad_()
    y = append_minibatch_std(x, None, 1, fused=True)
    torch.testing.assert_close(y[:, 2:], torch.full([4, 1, 3, 3], 1e-4))
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(dx, torch.ones_like(x))


@layouts
def test_the_form_with_few_launches_keeps_the_layout(layout: torch.memory_format) -> None:
    x = torch.randn(4, 6, 3, 2).contiguous(memory_format=layout).requires_grad_()
    y = append_minibatch_std(x, 2, 3, fused=True)
    (dx,) = torch.autograd.grad(y, x, torch.randn_like(y))
    assert y.is_contiguous(memory_format=layout)
    assert dx.is_contiguous(memory_format=layout)


@layouts
def test_gradients_of_a_penalty_and_third_derivatives_are_those_of_pytorch(layout: torch.memory_format) -> None:
    results = []
    for fused in (True, False):
        x = torch.randn(4, 6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x = x.contiguous(memory_format=layout).requires_grad_()
        value = append_minibatch_std(x, 2, 3, fused).sin().sum()
        found = []
        for _ in range(3):
            (dx,) = torch.autograd.grad(value, x, create_graph=True)
            value = dx.square().sum()
            found.append(dx)
        results.append(found)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.gpu
def test_on_cuda_few_launches_are_the_default_and_give_the_numbers_of_the_cpu() -> None:
    x = torch.randn(8, 6, 4, 4).contiguous(memory_format=torch.channels_last)
    results = []
    for device in ('cpu', 'cuda'):
        leaf = x.to(device).requires_grad_()
        y = append_minibatch_std(leaf, 4, 2)
        (dx,) = torch.autograd.grad(y.sin().sum(), leaf)
        results.append([y.cpu(), dx.cpu()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
