"""DiffAugment draws what its paper says and does it to the images, differentiably."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import ConfigError
from tests.support.gpu import no_waits
from training.augment import diffaug
from training.augment.diffaug import DiffAugment

N = 20_000
EVERYTHING = 'color,translation,cutout'


def images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 2 - 1


def assert_equally_likely(values: np.ndarray, low: int, high: int) -> None:
    """Asserts that whole numbers are equally likely.

    Args:
        values: Drawn numbers, [N].
        low: Smallest possible number.
        high: Largest possible number.
    """
    assert (values == np.rint(values)).all()
    counts = np.bincount((values - low).astype(int), minlength=high - low + 1)
    assert len(counts) == high - low + 1
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_colours_are_drawn_uniformly_in_their_ranges():
    torch.manual_seed(0)
    drawn = diffaug.draw_color(N).numpy()
    for column, (low, high) in enumerate([(-0.5, 0.5), (0, 2), (0.5, 1.5)]):
        assert scipy.stats.kstest(drawn[:, column], scipy.stats.uniform(low, high - low).cdf).pvalue > 1e-4
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 4 / N**0.5


def test_shifts_reach_an_eighth_and_squares_lie_anywhere():
    torch.manual_seed(0)
    shifts = diffaug.draw_shifts(N, 32, 64).numpy()
    assert_equally_likely(shifts[:, 0], -8, 8)
    assert_equally_likely(shifts[:, 1], -4, 4)
    corners = diffaug.draw_corners(N, 32, 64).numpy()
    assert_equally_likely(corners[:, 0], -16, 48)
    assert_equally_likely(corners[:, 1], -8, 24)


def test_colour_shifts_then_scales_what_is_not_grey_then_what_is_not_the_mean():
    x = images(1, 3, 4, 5)

    def recolored(brightness: float, saturation: float, contrast: float) -> torch.Tensor:
        return diffaug.recolor(x, torch.tensor([[brightness, saturation, contrast]], dtype=torch.float64))

    gray = x.mean(dim=1, keepdim=True)
    torch.testing.assert_close(recolored(0.3, 1, 1), x + 0.3)
    torch.testing.assert_close(recolored(0, 2, 1), 2 * x - gray)
    torch.testing.assert_close(recolored(0, 1, 0.5), (x + x.mean()) / 2)
    torch.testing.assert_close(recolored(0.3, 0, 1.5), ((gray - x.mean()) * 1.5 + x.mean() + 0.3).expand_as(x))


def test_translation_moves_right_and_down_with_zeros():
    x = images(2, 2, 5, 6)
    moved = diffaug.translate(x, torch.tensor([[2.0, -1.0], [0.0, 3.0]]))
    assert torch.equal(moved[0, :, :4, 2:], x[0, :, 1:, :4])
    assert not moved[0, :, 4].any()
    assert not moved[0, :, :, :2].any()
    assert torch.equal(moved[1, :, 3:], x[1, :, :2])
    assert not moved[1, :, :3].any()


def test_cutout_zeroes_half_the_height_and_width_where_they_lie_inside():
    x = images(2, 2, 8, 16)
    kept = torch.ones(2, 8, 16, dtype=torch.bool)
    kept[0, 2:6, 3:11] = False
    kept[1, :2, 12:] = False
    assert torch.equal(diffaug.cut_out(x, torch.tensor([[3.0, 2.0], [12.0, -2.0]])), x * kept[:, None])


def test_every_image_has_its_own_draws_and_a_seed_decides_them():
    x = images(1, 3, 16, 16, dtype=torch.float32).expand(6, -1, -1, -1)
    for policy in ('color', 'translation', 'cutout', EVERYTHING):
        torch.manual_seed(1)
        y = DiffAugment(policy)(x)
        assert len({bytes(image.numpy()) for image in y}) > 1
        torch.manual_seed(1)
        assert torch.equal(DiffAugment(policy)(x), y)


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
def test_any_number_of_channels_and_any_shape_go_through(channels: int):
    x = images(3, channels, 8, 20, dtype=torch.float32)
    y = DiffAugment(EVERYTHING)(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    colors = 3 if channels >= 3 else 1
    y = DiffAugment('color')(x)
    assert torch.equal(y[:, colors:], x[:, colors:])
    assert not torch.equal(y[:, :colors], x[:, :colors])
    assert DiffAugment(EVERYTHING)(x[:0]).shape == (0, channels, 8, 20)


def test_first_and_second_derivatives_are_those_of_finite_differences():
    x = images(2, 3, 6, 8).requires_grad_()

    def augment(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)
        return DiffAugment(EVERYTHING)(x)

    assert gradcheck(augment, x, fast_mode=True)
    assert gradgradcheck(lambda x: augment(x).pow(3), x, fast_mode=True)


def test_no_value_is_read_back_from_the_device():
    """Tensors on 'meta' have none."""
    assert DiffAugment(EVERYTHING)(images(4, 3, 16, 24).to('meta')).shape == (4, 3, 16, 24)


def test_what_cannot_work_is_refused():
    for policy in ('', 'colour', 'color,color', 'color;cutout'):
        with pytest.raises(ConfigError, match='name each of color, translation, cutout at most once'):
            DiffAugment(policy)
    with pytest.raises(ValueError, match=r'DiffAugment: expected img \[N, C, H, W\] in float32, got'):
        DiffAugment()(images(2, 3, 4, 4).bfloat16())


@pytest.mark.gpu
def test_the_device_is_never_waited_for_and_agrees_with_the_host():
    x = images(4, 3, 16, 24, dtype=torch.float32)
    on_device = x.cuda().requires_grad_()
    torch.manual_seed(0)
    expected = DiffAugment(EVERYTHING)(x)
    torch.manual_seed(0)
    with no_waits():
        y = DiffAugment(EVERYTHING)(on_device)
        torch.autograd.grad(y.sum(), on_device)
    torch.testing.assert_close(y.cpu(), expected)
