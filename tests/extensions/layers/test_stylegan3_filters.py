"""StyleGAN3's filters are the official ones, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from extensions.layers.stylegan3_filters import low_pass
from tests.support.operations import GOLDEN


def test_filters_are_the_official_ones_bit_for_bit() -> None:
    with np.load(GOLDEN / 'stylegan3_filters.npz', allow_pickle=False) as file:
        cases = json.loads(str(file['meta']))
        expected = [torch.from_numpy(file[f'{i}.f']) for i in range(len(cases))]
    assert len(cases) == 8
    for case, f in zip(cases, expected, strict=True):
        mine = low_pass(case['numtaps'], case['cutoff'], case['width'], case['fs'], case['radial'])
        assert torch.equal(mine, f), case


def test_one_tap_is_no_filter_and_a_radial_filter_needs_an_even_number() -> None:
    assert low_pass(1, 2, 4, 32) is None
    with pytest.raises(ValueError, match='even number of taps, got 5'):
        low_pass(5, 2, 4, 32, radial=True)
