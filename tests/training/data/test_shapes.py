"""Sizes that can be trained on, and runs and plans of images that are not square."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import ConfigError
from training.build import build_networks
from training.data.shapes import nearest_size, split_size
from training.interface import ImageSpec
from training.plan import describe_run
from training.registry import RECIPES

RECIPES.load_all()


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((64, 64), (64, (4, 4))),
        ((1024, 1024), (1024, (4, 4))),
        ((64, 96), (64, (4, 6))),
        ((96, 64), (64, (6, 4))),
        ((48, 64), (32, (6, 8))),
        ((8, 8), (8, (4, 4))),
        ((704, 1280), (256, (11, 20))),
        ((14, 10), (8, (7, 5))),
        ((8, 128), (8, (4, 64))),
    ],
)
def test_a_size_is_the_smallest_base_doubled(size, expected):
    assert split_size(*size) == expected
    resolution, base = expected
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1, base=base)
    assert (spec.height, spec.width) == size
    assert spec.pixels == size[0] * size[1]
    assert spec.size_at(4) == base


@pytest.mark.parametrize(
    'size', [(4, 4), (7, 7), (9, 8), (8, 9), (6, 12), (1080, 1920), (1000, 1000), (8, 130), (0, 0)]
)
def test_other_sizes_are_none(size):
    assert split_size(*size) is None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_the_proposed_size_can_be_trained_on_and_keeps_the_picture(height, width):
    h, w = nearest_size(height, width)
    assert split_size(h, w) is not None
    assert h <= max(height, 8)
    assert w <= max(width, 8)
    if min(height, width) >= 32 and max(height, width) <= 8 * min(height, width):
        assert h * w >= 0.75 * height * width
    assert nearest_size(h, w) == (h, w)


def test_half_pixels_of_an_odd_base_count_as_one():
    spec = ImageSpec(resolution=8, channels=3, label_dim=0, num_images=1, base=(5, 6))
    assert [spec.size_at(res) for res in (2, 4, 8)] == [(3, 3), (5, 6), (10, 12)]


def landscape(resolution: int) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=4, label_dim=0, num_images=10, base=(4, 6))


def test_an_architecture_that_needs_larger_images_names_both_sizes():
    with pytest.raises(ConfigError, match='--cfg=igan: draws images from 48x32 up, the data are 24x16; use larger'):
        build_networks(RECIPES.get('igan').make(landscape(16), 1), landscape(16))


def test_the_plan_counts_the_pixels_that_there_are():
    text = describe_run(RECIPES.get('auto').make(landscape(32), 1), landscape(32), 'run')
    assert 'Data: 10 images of 48x32 (base 6x4, 3 doublings), RGBA, four channels, 8 bits' in text
    square = describe_run(RECIPES.get('auto').make(landscape(32), 1), replace(landscape(32), base=(4, 4)), 'run')
    assert 'Data: 10 images of 32x32, RGBA, four channels, 8 bits' in square

    def macs(plan: str) -> float:
        return float(re.search(r' parameters, ([\d.]+) G multiply-adds per image', plan)[1])

    assert macs(text) == pytest.approx(1.5 * macs(square), rel=0.02)


@pytest.mark.parametrize('base', [(4, 4), (4, 6), (7, 5), (20, 15), (64, 64)])
@pytest.mark.parametrize('resolution', [32, 64, 256, 512])
def test_every_recipe_makes_a_run_of_every_shape(resolution, base):
    spec = ImageSpec(resolution=resolution, channels=4, label_dim=0, num_images=10, base=base)
    for name in RECIPES.names():
        for num_gpus in (1, 2):
            assert RECIPES.get(name).make(spec, num_gpus).batch_gpu >= 1


@pytest.mark.parametrize('name', ['squeeze', 'gconv-stylegan2', 'igan', 'ifgan', 'giu'])
def test_rules_by_pixels_see_no_difference_between_shapes(name):
    wide = ImageSpec(resolution=128, channels=3, label_dim=0, num_images=1, base=(4, 16))  # 128 x 512
    square = ImageSpec(resolution=256, channels=3, label_dim=0, num_images=1)
    assert wide.pixels == square.pixels
    assert RECIPES.get(name).make(wide, 1).batch_gpu == RECIPES.get(name).make(square, 1).batch_gpu


def test_self_attention_stays_on_maps_of_a_thousand_pixels():
    def stages(base: tuple[int, int]) -> tuple[int, ...]:
        spec = ImageSpec(resolution=128, channels=3, label_dim=0, num_images=1, base=base)
        return RECIPES.get('sagan').make(spec, 1).generator.attention

    assert stages((4, 4)) == (16, 32)  # 1,024 pixels at 32
    assert stages((4, 6)) == (8, 16)  # 1,536
    assert stages((20, 15)) == (4, 8)
