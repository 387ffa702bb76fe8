"""Every transform of ADA's pipe has the distribution of the official one: gates, ranges, standard deviations, order.

A transform at a time, 20,000 images: rates within 4 standard deviations, values by Kolmogorov-Smirnov.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from training.augment.pipe import AugmentPipe
from training.augment.presets import Ranges, Transforms

N = 20_000
HEIGHT, WIDTH = 32, 64
STRENGTHS = (0.1, 0.5, 1.0)
NEVER_BY_CHANCE = 1e-4  # p-value under which a distribution is another one; the seeds are fixed


def draws(p: float, channels: int = 3, **multipliers: float):
    """Returns what the pipe with these transforms draws for N images of 64 x 32."""
    torch.manual_seed(int(p * 1000) + sum(map(ord, ''.join(multipliers))))
    return AugmentPipe(Transforms(**multipliers)).draw(torch.Size([N, channels, HEIGHT, WIDTH]), p)


def maps(p: float, **multipliers: float) -> np.ndarray:
    """Returns G of the result, [N, 3, 3]: how the image is moved."""
    return torch.linalg.inv(draws(p, **multipliers).inverse).numpy()


def colors(p: float, **multipliers: float) -> np.ndarray:
    return draws(p, **multipliers).colors.numpy()  # [N, 4, 4]


def assert_rate(hits: np.ndarray, rate: float) -> None:
    """Asserts that the share of True in [N] is `rate`, exactly if that is 0 or 1."""
    assert abs(hits.mean() - rate) <= 4 * math.sqrt(rate * (1 - rate) / len(hits))


def assert_distributed(values: np.ndarray, distribution) -> None:
    assert scipy.stats.kstest(values, distribution.cdf).pvalue > NEVER_BY_CHANCE


def assert_gated(values: np.ndarray, neutral: float, p: float, distribution) -> None:
    """Asserts that values are neutral or drawn from a continuous distribution.

    Args:
        values: Drawn values, [N].
        neutral: Value with probability 1 - p.
        p: Probability of the distribution.
        distribution: The distribution.
    """
    changed = values != neutral
    assert_rate(changed, p)
    assert_distributed(values[changed], distribution)


def uniform(low: float, high: float):
    return scipy.stats.uniform(low, high - low)


def normal(std: float):
    return scipy.stats.norm(0, std)


# ---- geometry


@pytest.mark.parametrize('p', STRENGTHS)
def test_xflip_turns_half_of_the_gated_images(p: float):
    g = maps(p, xflip=1)
    assert_rate(g[:, 0, 0] == -1, p / 2)
    assert (np.abs(g) == np.eye(3)).all()
    assert (g[:, 1, 1] == 1).all()


@pytest.mark.parametrize('p', STRENGTHS)
def test_rotate90_is_each_quarter_turn_equally_often(p: float):
    g = maps(p, rotate90=1)
    quarters = np.rint(np.arctan2(-g[:, 1, 0], g[:, 0, 0]) / (math.pi / 2)).astype(int) % 4  # counterclockwise
    assert_rate(quarters == 0, 1 - p + p / 4)
    for quarter in (1, 2, 3):
        assert_rate(quarters == quarter, p / 4)
    assert set(np.unique(g)) == {-1, 0, 1}


@pytest.mark.parametrize('p', STRENGTHS)
def test_xint_moves_by_whole_pixels_up_to_an_eighth_in_each_direction(p: float):
    shift = maps(p, xint=1)[:, :2, 2]
    assert (shift == np.rint(shift)).all()
    for axis, size in ((0, WIDTH), (1, HEIGHT)):
        furthest = size // 8
        counts = np.bincount((shift[:, axis] + furthest).astype(int), minlength=2 * furthest + 1)
        share = np.full(2 * furthest + 1, p / (2 * furthest))
        share[[0, -1]] /= 2  # half a pixel rounds there
        share[furthest] += 1 - p
        assert scipy.stats.chisquare(counts, share * N).pvalue > NEVER_BY_CHANCE
    moved = shift.any(axis=1)
    at_rest = 1 / (2 * WIDTH // 8) / (2 * HEIGHT // 8)
    assert_rate(moved, p * (1 - at_rest))  # one gate for both axes
    assert abs(scipy.stats.pearsonr(*shift[moved].T).statistic) < 4 / math.sqrt(moved.sum())


@pytest.mark.parametrize('p', STRENGTHS)
def test_scale_is_log_normal_and_the_same_on_both_axes(p: float):
    g = maps(p, scale=1)
    np.testing.assert_allclose(g[:, 0, 0], g[:, 1, 1], rtol=1e-12)
    assert_gated(np.log2(g[:, 0, 0]), 0, p, normal(0.2))


@pytest.mark.parametrize('p', STRENGTHS)
def test_either_rotation_happens_with_probability_p_each_with_less(p: float):
    g = maps(p, rotate=1)
    assert_rate(g[:, 1, 0] != 0, p)
    assert_distributed(np.arctan2(g[:, 1, 0], g[:, 0, 0])[g[:, 1, 0] != 0], uniform(-math.pi, math.pi))
    np.testing.assert_allclose(np.linalg.det(g), 1, rtol=1e-12)
    # A stretch of x between the two separates them: G = post stretch pre.
    torch.manual_seed(7)
    stretched = AugmentPipe(Transforms(rotate=1, aniso=1e9), Ranges(aniso_std=0.5))
    inverse = stretched.draw(torch.Size([N, 3, HEIGHT, WIDTH]), p).inverse.numpy()
    g = np.linalg.inv(inverse)
    each = 1 - math.sqrt(1 - p)
    no_pre = np.abs((g.transpose(0, 2, 1) @ g)[:, 0, 1]) < 1e-9  # pre^T stretch^2 pre is diagonal
    no_post = np.abs((g @ g.transpose(0, 2, 1))[:, 0, 1]) < 1e-9
    assert_rate(~no_pre, each)
    assert_rate(~no_post, each)
    assert_rate(~no_pre & ~no_post, each * each)


@pytest.mark.parametrize('p', STRENGTHS)
def test_aniso_stretches_x_as_it_squeezes_y(p: float):
    g = maps(p, aniso=1)
    np.testing.assert_allclose(g[:, 0, 0] * g[:, 1, 1], 1, rtol=1e-12)
    assert_gated(np.log2(g[:, 0, 0]), 0, p, normal(0.2))


@pytest.mark.parametrize('p', STRENGTHS)
def test_xfrac_is_normal_by_an_eighth_of_each_size_under_one_gate(p: float):
    shift = maps(p, xfrac=1)[:, :2, 2]
    for axis, size in ((0, WIDTH), (1, HEIGHT)):
        assert_gated(shift[:, axis], 0, p, normal(0.125 * size))
    moved = shift.any(axis=1)
    assert_rate(moved, p)
    assert abs(scipy.stats.pearsonr(*shift[moved].T).statistic) < 4 / math.sqrt(moved.sum())


# ---- color


@pytest.mark.parametrize('p', STRENGTHS)
def test_brightness_adds_a_normal_shift_to_all_three(p: float):
    c = colors(p, brightness=1)
    assert (c[:, :3, 3] == c[:, :1, 3]).all()
    assert (c[:, :3, :3] == np.eye(3)).all()
    assert_gated(c[:, 0, 3], 0, p, normal(0.2))


@pytest.mark.parametrize('p', STRENGTHS)
def test_contrast_multiplies_all_three_log_normally(p: float):
    c = colors(p, contrast=1)
    assert (c[:, :3, :3] == c[:, :1, :1] * np.eye(3)).all()
    assert_gated(np.log2(c[:, 0, 0]), 0, p, normal(0.5))


@pytest.mark.parametrize('p', STRENGTHS)
def test_lumaflip_reflects_half_of_the_gated_images_along_grey(p: float):
    c = colors(p, lumaflip=1)
    flipped = c[:, 0, 0] != 1
    assert_rate(flipped, p / 2)
    np.testing.assert_allclose(c[flipped][:, :3, :3], np.broadcast_to(np.eye(3) - 2 / 3, [flipped.sum(), 3, 3]))
    assert (c[~flipped] == np.eye(4)).all()


@pytest.mark.parametrize('p', STRENGTHS)
def test_hue_turns_about_grey_by_any_angle(p: float):
    c = colors(p, hue=1)
    changed = c[:, 0, 0] != 1
    assert_rate(changed, p)
    rgb = c[changed][:, :3, :3]
    np.testing.assert_allclose(rgb @ rgb.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rgb.shape), atol=1e-12)
    np.testing.assert_allclose(rgb.sum(axis=2), 1, rtol=1e-12)  # gray stays
    sine = (rgb[:, 1, 0] - rgb[:, 0, 1]) * math.sqrt(3) / 2
    cosine = (np.trace(rgb, axis1=1, axis2=2) - 1) / 2
    assert_distributed(np.arctan2(sine, cosine), uniform(-math.pi, math.pi))


@pytest.mark.parametrize('p', STRENGTHS)
def test_saturation_scales_what_is_not_grey_log_normally(p: float):
    c = colors(p, saturation=1)
    np.testing.assert_allclose(c[:, :3, :3].sum(axis=2), 1, rtol=1e-12)
    factor = c[:, 0, 0] - c[:, 0, 1]  # the eigenvalue of (1, -1, 0)
    np.testing.assert_allclose(c[:, 2, 2] - c[:, 1, 2], factor, rtol=1e-9)
    changed = c[:, 0, 1] != 0
    assert_rate(changed, p)
    assert_distributed(np.log2(factor[changed]), normal(1))


def test_grey_images_have_neither_hue_nor_saturation():
    for channels in (1, 2):
        assert (draws(1, channels, hue=1, saturation=1).colors == torch.eye(4)).all()


# ---- filter, noise, cutout


@pytest.mark.parametrize('p', STRENGTHS)
@pytest.mark.parametrize('band', range(4))
def test_imgfilter_changes_each_band_log_normally_and_keeps_the_expected_power(p: float, band: int):
    bands = tuple(float(b == band) for b in range(4))
    torch.manual_seed(band)
    pipe = AugmentPipe(Transforms(imgfilter=1), Ranges(imgfilter_bands=bands))
    gains = pipe.draw(torch.Size([N, 3, 32, 32]), p).gains.numpy()
    np.testing.assert_allclose((gains**2) @ np.array([10, 1, 1, 1]) / 13, 1, rtol=1e-12)
    assert_gated(np.log2(gains[:, band] / gains[:, (band + 1) % 4]), 0, p, normal(1))


def test_imgfilter_has_a_gate_for_each_of_its_bands():
    gains = draws(0.5, imgfilter=1).gains.numpy()
    different = (gains[:, :, None] != gains[:, None, :]).sum(axis=2)  # [N, 4]: bands unlike each band
    assert_rate((gains == 1).all(axis=1), 0.5**4)
    assert_rate((np.sort(different) == [1, 1, 1, 3]).all(axis=1), 4 * 0.5**4)  # one band against the others


@pytest.mark.parametrize('p', STRENGTHS)
def test_noise_is_as_strong_as_half_a_normal_deviate(p: float):
    assert_gated(draws(p, noise=1).sigma.numpy(), 0, p, scipy.stats.halfnorm(0, 0.1))


@pytest.mark.parametrize('p', STRENGTHS)
def test_cutout_is_half_the_size_with_its_middle_anywhere(p: float):
    windows = draws(p, cutout=1).windows.numpy()
    assert set(np.unique(windows[:, 2])) <= {0, 0.25}
    cut = windows[:, 2] > 0
    for axis in (0, 1):
        assert_gated(windows[:, axis], 0, p, uniform(0, 1))
    assert abs(scipy.stats.pearsonr(*windows[cut, :2].T).statistic) < 4 / math.sqrt(cut.sum())
    assert_rate(cut, p)


# ---- gates


@pytest.mark.parametrize(('multiplier', 'p', 'rate'), [(0.5, 0.5, 0.25), (2, 0.25, 0.5), (2, 0.8, 1), (1, 1.7, 1)])
def test_gates_open_at_multiplier_times_p_and_saturate(multiplier: float, p: float, rate: float):
    assert_rate(draws(p, scale=multiplier).inverse[:, 0, 0].numpy() != 1, rate)
    assert_rate(draws(p, rotate=multiplier).inverse[:, 0, 1].numpy() != 0, rate)
    assert_rate(draws(p, brightness=multiplier).colors[:, 0, 3].numpy() != 0, rate)
    assert_rate(draws(p, noise=multiplier).sigma.numpy() != 0, rate)


def test_a_transform_without_multiplier_draws_nothing():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = AugmentPipe(Transforms()).draw(torch.Size([N, 3, 8, 8]), 1)
    assert (drawn.inverse, drawn.colors, drawn.gains, drawn.sigma, drawn.windows) == (None,) * 5
    assert torch.equal(torch.get_rng_state(), before)
