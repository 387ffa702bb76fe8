"""Differences between a file and PyTorch: which of them are too large."""

import math

import pytest
import torch

from ganfoundry.export.agreement import BATCHES, PSIS, Agreement, agreement, cases
from tests.support.networks import tiny_G

IMAGES = torch.linspace(-3, 3, 3000).reshape(1, 3, 10, 100)


@pytest.mark.parametrize(
    ('found', 'holds'),
    [
        (IMAGES, True),
        (IMAGES + 2e-7, True),
        (IMAGES + 2e-4, True),  # 3 is the largest value, so 3e-4 is allowed
        (IMAGES + 4e-4, False),
        (IMAGES.where(IMAGES[0, 0, 0, 5] != IMAGES, math.nan), False),
        (IMAGES[:, :1], False),
    ],
    ids=['equal', 'rounding', 'small', 'large', 'NaN', 'shape'],
)
def test_differences_count_relative_to_the_largest_value(found, holds):
    result = agreement(found, IMAGES, is_image=False)
    assert result.holds is holds


def test_bytes_may_differ_by_one_at_one_place_of_a_thousand():
    expected = torch.full([1, 1, 20, 100], 0.5 / 127.5 - 1e-6)  # below the step from byte 128 to 129
    expected = expected + 0.5 / 127.5
    found = expected.clone()
    found.view(-1)[:2] += 1e-5
    assert agreement(found, expected, is_image=True) == Agreement(
        largest=pytest.approx(1e-5, rel=0.01), places=2000, unequal=2, widest=1
    )
    assert agreement(found, expected, is_image=True).holds
    found.view(-1)[2] += 1e-5
    result = agreement(found, expected, is_image=True)
    assert not result.holds
    assert str(result) == (
        'largest difference 1.0e-05 (allowed 0.0001), 3 of 2000 bytes differ, by at most 1 (allowed 0.1 % by 1)'
    )
    assert not Agreement(largest=0, places=10_000, unequal=1, widest=2).holds


def test_agreements_of_several_batches_join():
    a, b = Agreement(largest=1e-6, places=10, unequal=1, widest=1), Agreement(largest=2e-6, places=20)
    assert a.joined(b) == Agreement(largest=2e-6, places=30, unequal=1, widest=1)


def test_the_cases_are_every_batch_at_every_truncation():
    G = tiny_G().eval()
    found = list(cases(G, None, 'const'))
    assert [(len(case.inputs['z']), float(case.inputs['psi'])) for case in found] == [
        (n, pytest.approx(psi)) for n in BATCHES for psi in PSIS
    ]
    assert all(
        torch.equal(case.images, G(case.inputs['z'], None, truncation_psi=psi, noise_mode='const'))
        for case, psi in zip(found, PSIS * len(BATCHES), strict=True)
    )
    assert [len(case.images) for case in cases(G, 0.5, 'none')] == list(BATCHES)
    assert all('psi' not in case.inputs for case in cases(G, 0.5, 'none'))


def test_noise_maps_of_the_inputs_replace_the_stored_ones():
    G = tiny_G().eval()
    for layer in G.modules():
        if hasattr(layer, 'noise_strength'):
            torch.nn.init.ones_(layer.noise_strength)
    (first, *_) = cases(G, 1.0, 'input')
    maps = {name: value for name, value in first.inputs.items() if name.startswith('noise_')}
    assert list(maps) == ['noise_b4_conv1', 'noise_b8_conv0', 'noise_b8_conv1', 'noise_b16_conv0', 'noise_b16_conv1']
    assert maps['noise_b8_conv0'].shape == (1, 1, 8, 8)
    for name, value in maps.items():
        block, layer = name.removeprefix('noise_').split('_')
        getattr(getattr(G.synthesis, block), layer).noise_const.copy_(value[0, 0])
    assert torch.allclose(G(first.inputs['z'], None, noise_mode='const'), first.images, atol=1e-6)
