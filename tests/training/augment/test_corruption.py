"""Corruptions: the strength of noise and the area of cutouts."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from tests.support.tensors import noise, numbers
from training.augment import corruption
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS, Ranges


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
