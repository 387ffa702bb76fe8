"""The filtered leaky ReLU has the official values and gradients of every order, and refuses what it cannot compute."""

from __future__ import annotations

import pytest
import torch

from tests.support.operations import NUM_CASES, assert_equal, load_golden
from torch_utils.ops.filtered_lrelu import filtered_lrelu

OPTIONS = ('up', 'down', 'padding', 'gain', 'slope', 'clamp', 'flip_filter')


@pytest.mark.parametrize('impl', ['ref', 'auto'])
@pytest.mark.parametrize('case', range(NUM_CASES['stylegan3_filtered_lrelu']))
def test_values_and_gradients_of_two_orders_are_the_official_ones(case: int, impl: str) -> None:
    t, meta = load_golden('stylegan3_filtered_lrelu', case)
    x, dy = t['x'].requires_grad_(), t['dy'].requires_grad_()
    b = t['b'].requires_grad_() if 'b' in t else None
    options = {name: meta[name] for name in OPTIONS}
    y = filtered_lrelu(x, t.get('fu'), t.get('fd'), b, **options, impl=impl)
    assert_equal(y, t['y'])
    leaves, directions = ([x], [t['v']]) if b is None else ([x, b], [t['v'], t['vb']])
    first = torch.autograd.grad(y, leaves, dy, create_graph=True)
    for grad, expected in zip(first, [t['dx'], t['db']] if b is not None else [t['dx']], strict=True):
        assert_equal(grad, expected)
    total = sum((g * v).sum() for g, v in zip(first, directions, strict=True))
    assert_equal(*torch.autograd.grad(total, dy), t['d2dy'])


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'gain': 0.0}, 'gain=0.0'),
        ({'slope': -0.1}, 'slope=-0.1'),
        ({'clamp': -1.0}, 'clamp=-1.0'),
        ({'b': torch.zeros(3)}, r'\[3\]'),
        ({'padding': -3}, 'nothing is left'),
    ],
)
def test_impossible_arguments_are_refused_by_name(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        filtered_lrelu(torch.zeros(1, 2, 4, 4), **options)
