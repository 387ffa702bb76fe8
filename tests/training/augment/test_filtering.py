"""Image-space filter: its bank, its bands, and the size that it needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from tests.support.tensors import noise, numbers
from training.augment import filtering
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS


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
