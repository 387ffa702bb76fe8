"""What the color maps, the image filter, the noise and the cut-out do to images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from training.augment import color, corruption, filtering
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS, Ranges, Transforms


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def mapped(img: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return color.apply(img, color.plan(maps, color.num_colors(img.shape[1])))


# ---- color


def test_brightness_adds_and_contrast_multiplies():
    x = noise(2, 3, 4, 5)
    torch.testing.assert_close(mapped(x, color.brightness(numbers(0.3, -1))), x + numbers(0.3, -1)[:, None, None, None])
    torch.testing.assert_close(mapped(x, color.contrast(numbers(0.5, 3))), x * numbers(0.5, 3)[:, None, None, None])


def test_lumaflip_negates_the_mean_of_the_colours_and_keeps_their_differences():
    x = noise(1, 3, 4, 5)
    y = mapped(x, color.luma_flip(numbers(1)))
    torch.testing.assert_close(y.mean(dim=1), -x.mean(dim=1))
    torch.testing.assert_close(y.diff(dim=1), x.diff(dim=1))


def test_a_third_of_a_turn_of_hue_moves_red_to_green_to_blue():
    x = noise(1, 3, 4, 5)
    torch.testing.assert_close(mapped(x, color.hue_rotation(numbers(2 * math.pi / 3))), x.roll(1, dims=1))


def test_saturation_zero_is_grey_and_two_doubles_what_is_not():
    x = noise(1, 3, 4, 5)
    gray = x.mean(dim=1, keepdim=True)
    torch.testing.assert_close(mapped(x, color.saturation(numbers(0))), gray.expand_as(x))
    torch.testing.assert_close(mapped(x, color.saturation(numbers(2))), gray + 2 * (x - gray))


def test_neutral_parameters_are_the_identity_to_the_bit():
    for maps in (
        color.brightness(numbers(0)), color.contrast(numbers(1)), color.luma_flip(numbers(0)),
        color.hue_rotation(numbers(0)), color.saturation(numbers(1)),
    ):  # fmt: skip
        assert torch.equal(maps, torch.eye(4, dtype=torch.float64)[None])


@pytest.mark.parametrize('channels', [1, 2])
def test_grey_images_have_the_mean_of_what_a_grey_rgb_image_becomes(channels: int):
    maps = AugmentPipe(PRESETS['color']).draw(torch.Size([5, 1, 4, 4]), 1.0).colors
    x = noise(5, 1, 4, 6)
    torch.testing.assert_close(mapped(x, maps), mapped(x.expand(-1, 3, -1, -1), maps).mean(dim=1, keepdim=True))


@pytest.mark.parametrize(('channels', 'colors'), [(1, 1), (2, 1), (3, 3), (4, 3), (6, 3)])
def test_what_is_no_colour_is_moved_and_cut_out_but_not_coloured_filtered_or_disturbed(channels: int, colors: int):
    x = noise(4, channels, 24, 28)
    torch.manual_seed(1)
    y = AugmentPipe(Transforms(brightness=1, hue=1, imgfilter=1, noise=1))(x, 1.0)
    assert torch.equal(y[:, colors:], x[:, colors:])
    assert (y[:, :colors] != x[:, :colors]).all()
    y = AugmentPipe(Transforms(scale=1, cutout=1))(x, 1.0)
    assert (y != x).flatten(2).any(dim=2).all()


# ---- filter


def test_the_filter_bank_is_the_official_one():
    bank = filtering.filter_bank()
    assert bank.shape == (4, 43)
    torch.testing.assert_close(bank.sum(dim=1), numbers(1, 0, 0, 0), rtol=0, atol=1e-13)
    torch.testing.assert_close(bank[:, 21], numbers(0.125, 0.125, 0.25, 0.5), rtol=0, atol=1e-13)
    impulse = torch.zeros(43, dtype=torch.float64).index_fill(0, torch.tensor(21), 1)
    torch.testing.assert_close(bank.sum(dim=0), impulse, rtol=0, atol=2e-13)
    highest = torch.zeros(43, dtype=torch.float64)
    highest[[18, 20, 21, 22, 24]] = numbers(0.03125, -0.28125, 0.5, -0.28125, 0.03125)
    torch.testing.assert_close(bank[3], highest, rtol=0, atol=1e-13)
    torch.testing.assert_close(bank, bank.flip(1), rtol=0, atol=1e-15)


def test_each_band_passes_its_octave():
    """Edges in cycles per pixel, as measured on the official bank: where a band has half the image's amplitude."""
    frequencies = np.linspace(0, 0.5, 5001)
    waves = np.exp(-2j * math.pi * np.outer(np.arange(-21, 22), frequencies))
    passed = np.abs(filtering.filter_bank().numpy() @ waves)
    for amplitude, (low, high) in zip(passed, [(0, 0.061), (0.065, 0.122), (0.129, 0.25), (0.25, 0.5)], strict=True):
        through = frequencies[amplitude >= 0.5]
        assert through.min() == pytest.approx(low, abs=6e-4)
        assert through.max() == pytest.approx(high, abs=6e-4)


def test_equal_bands_are_the_identity_and_bands_of_strengths_add_up():
    x = noise(2, 3, 22, 30)
    torch.testing.assert_close(filtering.apply(x, filtering.plan(torch.ones(2, 4).double())), x)
    gains = noise(2, 4, seed=1) + 2
    bank = filtering.filter_bank()
    padded = F.pad(x, [21] * 4, mode='reflect')
    for k in range(2):
        taps = sum(g * row for g, row in zip(gains[k], bank, strict=True))
        square = taps.outer(taps)[None, None]
        expected = F.conv2d(padded[k][:, None], square)[:, 0]
        torch.testing.assert_close(filtering.apply(x, filtering.plan(gains))[k], expected)


def test_the_image_filter_needs_22_pixels_whatever_p_is():
    pipe = AugmentPipe(PRESETS['bgcf'])
    assert pipe(noise(1, 3, 22, 22), 1.0).shape == (1, 3, 22, 22)
    for p in (0.0, 1.0):
        with pytest.raises(ConfigError, match=r'--augpipe: .* at least 22x22, not 32x16; use .* --augpipe=bgc'):
            pipe(noise(1, 3, 16, 32), p)
    AugmentPipe(PRESETS['bgc']).require_size(4, 4)


# ---- noise and cut-out


def test_noise_is_normal_and_as_strong_as_its_sigma():
    torch.manual_seed(0)
    x = noise(3, 2, 64, 64)
    sigma = numbers(0.05, 0, 0.3)
    difference = (corruption.apply_noise(x, sigma) - x).flatten(1).numpy()
    assert not difference[1].any()
    for k in (0, 2):
        assert scipy.stats.kstest(difference[k], scipy.stats.norm(0, float(sigma[k])).cdf).pvalue > 1e-4


def test_cutout_zeroes_the_pixels_whose_centres_lie_in_the_rectangle():
    x = noise(3, 2, 8, 16).abs() + 0.1
    windows = torch.stack([numbers(0.5, 0.5, 0.25), numbers(0.0, 1.0, 0.25), numbers(0.5, 0.5, 0)])
    kept = torch.ones(3, 8, 16, dtype=torch.bool)
    kept[0, 2:6, 4:12] = False
    kept[1, 6:, :4] = False
    assert torch.equal(corruption.apply_cutout(x, windows), x * kept[:, None])


def test_cutout_keeps_0_8086_of_the_area():
    torch.manual_seed(0)
    y = AugmentPipe(PRESETS['cutout'])(torch.ones(4000, 1, 32, 32), 1.0)
    assert float(y.mean()) == pytest.approx(1 - 0.4375**2, abs=0.004)
    y = AugmentPipe(PRESETS['cutout'], Ranges(cutout_size=0))(torch.ones(4, 1, 32, 32), 1.0)
    assert bool((y == 1).all())
