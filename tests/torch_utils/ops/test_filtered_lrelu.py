"""The filtered leaky ReLU has the official values and gradients of every order, and refuses what it cannot compute."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.operations import (
    NUM_CASES,
    SETTINGS,
    assert_close,
    assert_equal,
    assert_same_bits,
    dtypes,
    image,
    images,
    layouts,
    load_golden,
    needs_kernels,
    sum_of_mirror_images,
)
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


filters = st.tuples(st.sampled_from([1, 3, 4, 12]), st.sampled_from(['1-D', '2-D', 'mirrored']))


def drawn_filter(num_taps: int, kind: str) -> torch.Tensor:
    """Returns a filter with a sum of 1, of one dimension, of two, or of two and equal to its mirror images."""
    generator = torch.Generator().manual_seed(num_taps)
    f = torch.rand([num_taps] if kind == '1-D' else [num_taps, num_taps], generator=generator)
    f = sum_of_mirror_images(f) if kind == 'mirrored' else f
    return f / f.sum()


@needs_kernels
@SETTINGS
@given(
    images, dtypes, layouts, filters, filters, st.sampled_from([1, 2, 3, 4]), st.sampled_from([1, 2, 3, 4]),
    st.tuples(*[st.integers(-3, 12)] * 4), st.sampled_from([None, 0.5]), st.booleans(),
)  # fmt: skip
def test_the_kernel_equals_the_reference(shape, dtype, layout, fu, fd, up, down, padding, clamp, flip) -> None:
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    assume(all(side * up + pad >= fu[0] + fd[0] for side, pad in zip((shape[3], shape[2]), pads, strict=True)))
    assume(min(shape[2], shape[3]) > 3 or min(padding) >= 0)  # PyTorch rejects an empty crop
    x = image(shape, dtype, layout, seed=1)
    b = torch.randn(shape[1], generator=torch.Generator().manual_seed(2))
    args = {'fu': drawn_filter(*fu), 'fd': drawn_filter(*fd), 'b': b, 'up': up, 'down': down}
    args |= {'padding': padding, 'clamp': clamp, 'flip_filter': flip}
    y, expected = filtered_lrelu(x, **args, impl='cpu'), filtered_lrelu(x, **args, impl='ref')
    assert_close(y, expected)
    if dtype == torch.float64 and y.numel():  # lower precision rounds to either side of the bend
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
        grads = [torch.autograd.grad(t, x, dy)[0] for t in (y, expected)]
        assert_close(*grads, scale=float(dy.norm()))


@needs_kernels
@pytest.mark.parametrize('radial', [False, True])
@pytest.mark.parametrize('height', [5, 300])
def test_bands_and_threads_do_not_show(height: int, radial: bool) -> None:
    """A tall image is computed in bands of rows, whose neighbors overlap at the raised rate."""
    x = torch.randn(1, 3, height, 70, requires_grad=True)
    fu = torch.hamming_window(12, periodic=False) / 6
    fd = sum_of_mirror_images(torch.rand(12, 12)) / 288 if radial else fu

    def run(impl: str = 'cpu') -> list[torch.Tensor]:
        y = filtered_lrelu(x, fu, fd, torch.ones(3), up=2, down=2, padding=[9, 8], clamp=1.0, impl=impl)
        return [y, *torch.autograd.grad(y.square().sum(), x)]

    assert_same_bits(run, num_threads=3)
    for actual, expected in zip(run(), run('ref'), strict=True):
        assert_close(actual, expected)


@needs_kernels
@pytest.mark.parametrize('padding', [[-2, -5], [-40, 11], [60, -30]])
def test_a_gradient_with_few_factors_is_that_of_the_reference(padding: list[int]) -> None:
    """Padding that crops the image leaves samples of the gradient's raised rate without a stored factor."""
    x = torch.randn(2, 2, 20, 36, dtype=torch.float64, requires_grad=True)
    fu, fd = torch.rand(24, dtype=torch.float64), sum_of_mirror_images(torch.rand(12, 12, dtype=torch.float64))
    grads = []
    for impl in ('cpu', 'ref'):
        y = filtered_lrelu(x, fu, fd, up=4, down=2, padding=padding, impl=impl)
        grads += torch.autograd.grad(y, x, torch.ones_like(y).tril())
    assert_close(*grads)


@needs_kernels
def test_an_image_that_is_cropped_entirely_has_no_gradient() -> None:
    """The reference rejects such a crop: no stored factor belongs to the gradient's raised rate."""
    x, f = torch.randn(1, 2, 36, 36, requires_grad=True), torch.hamming_window(12) / 12
    y = filtered_lrelu(x, f, f, up=4, down=2, padding=[160, -150], impl='cpu')
    assert torch.equal(y, torch.zeros(1, 2, 66, 66))
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], torch.zeros_like(x))
