"""Presets of ADA's pipe: the transforms of each are the official ones."""

from __future__ import annotations

import dataclasses

from training.augment.presets import PRESETS


def test_the_presets_are_the_official_ones():
    groups = {
        'blit': 'xflip rotate90 xint', 'geom': 'scale rotate aniso xfrac',
        'color': 'brightness contrast lumaflip hue saturation', 'filter': 'imgfilter', 'noise': 'noise',
        'cutout': 'cutout',
    }  # fmt: skip
    together = {'bg': 2, 'bgc': 3, 'bgcf': 4, 'bgcfn': 5, 'bgcfnc': 6}
    expected = {name: names.split() for name, names in groups.items()}
    expected |= {name: ' '.join(list(groups.values())[:count]).split() for name, count in together.items()}
    assert list(PRESETS) == [*expected, 'r3gan']
    for name, names in expected.items():
        fields = dataclasses.asdict(PRESETS[name])
        assert {field for field, value in fields.items() if value == 1} == set(names)
        assert {field for field, value in fields.items() if value == 0} == set(fields) - set(names)
