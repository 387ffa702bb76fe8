"""AugmentConfig: invalid values are refused with the field's name."""

from __future__ import annotations

import dataclasses

import pytest

from dnnlib.errors import ConfigError
from training.augment.config import AugmentConfig


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'kind': 'fixed', 'p': 1.5}, r'aug\.p=1\.5: --p must be between 0 and 1'),
        ({'p': 0.9}, r'aug\.p=0\.9: must not exceed aug\.p_max=0\.85'),
        ({'pipe': 'bgd'}, r'aug\.pipe=bgd: one of blit, geom'),
        ({'kind': 'adda'}, r'aug\.kind=adda: one of noaug, ada'),
        ({'target': -0.1}, r'aug\.target=-0\.1: --target must be between 0 and 1'),
        ({'interval': 0}, r'aug\.interval=0'),
        ({'kimg': 0}, r'aug\.kimg=0'),
        ({'p_max': 0}, r'aug\.p_max=0'),
        ({'policy': 'colour'}, r'aug\.policy=colour: names of color, translation, cutout'),
        ({'policy': ''}, r'aug\.policy='),
        ({'policy': 'color,color'}, r'aug\.policy=color,color: .* each at most once'),
    ],
)
def test_a_wrong_setting_is_refused_by_name(fields, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**{'kind': 'ada', **fields})


def test_a_fixed_p_is_not_capped():
    assert dataclasses.replace(AugmentConfig(kind='fixed'), p=1.0).p == 1.0
