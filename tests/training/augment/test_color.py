"""Color transforms: each map, gray images, and channels that are no colors."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.tensors import noise, numbers
from training.augment import color
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS, Transforms


def mapped(img: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    return color.apply(img, color.plan(maps, color.num_colors(img.shape[1])))


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
def test_channels_that_are_no_color_are_moved_and_cut_out_only(channels: int, colors: int):
    x = noise(4, channels, 24, 28)
    torch.manual_seed(1)
    y = AugmentPipe(Transforms(brightness=1, hue=1, imgfilter=1, noise=1))(x, 1.0)
    assert torch.equal(y[:, colors:], x[:, colors:])
    assert (y[:, :colors] != x[:, :colors]).all()
    y = AugmentPipe(Transforms(scale=1, cutout=1))(x, 1.0)
    assert (y != x).flatten(2).any(dim=2).all()
