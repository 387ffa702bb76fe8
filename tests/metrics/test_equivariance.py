"""Moved images, their masks, and the three ratios are those of the official implementation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from metrics.equivariance import band_limit, band_limited, errors, psnr, rotate, shift_by_parts, shift_by_pixels
from tests.support.stylegan3 import GOLDEN, load_generator


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN / 'stylegan3_equivariance_ops.npz', allow_pickle=False) as file:
        return json.loads(str(file['meta'])), {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}


def assert_near(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(('name', 'shift'), [('integer', shift_by_pixels), ('fractional', shift_by_parts)])
def test_translations_and_their_masks_are_the_official_ones(golden, name, shift):
    meta, t = golden
    assert len(meta[name]) >= 2
    for i, by in enumerate(meta[name]):
        z, m = shift(t['x'], *by)
        assert_near(z, t[f'{name}.{i}.z'])
        assert torch.equal(m.expand_as(z), t[f'{name}.{i}.m'].expand_as(z))


def test_rotations_filters_and_masks_are_the_official_ones(golden):
    meta, t = golden
    assert len(meta['rotation']) >= 2
    for i, angle in enumerate(meta['rotation']):
        key = f'rotation.{i}'
        assert_near(band_limit(angle, 4), t[f'{key}.filter'])
        assert_near(band_limit(-angle, 1), t[f'{key}.pseudo_filter'])
        for result, z, m in ((rotate, 'z', 'm'), (band_limited, 'pseudo', 'pseudo_m')):
            img, mask = result(t['q'], angle)
            assert_near(img, t[f'{key}.{z}'])
            assert torch.equal(mask.expand_as(img), t[f'{key}.{m}'].expand_as(img))


@pytest.mark.parametrize(('name', 'tolerance'), [('t32_leaky', 1e-3), ('r32_leaky', 1e-3), ('t32', 0.5), ('r32', 0.5)])
@torch.no_grad()
def test_the_ratios_of_golden_networks_are_the_official_ones(name, tolerance):
    """Above 70 dB, which only the networks that are not leaky reach, the error is rounding."""
    G, _, _ = load_generator(name)
    with np.load(GOLDEN / f'stylegan3_eq_{name}.npz', allow_pickle=False) as file:
        t = {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}
    for k, (motion, key) in enumerate((('whole', 't_int'), ('part', 't_frac'), ('turn', 'angle'))):
        sums = torch.zeros(2, dtype=torch.float64)
        for z, by in zip(t['z'], t[key].reshape(3, -1), strict=True):
            ws = G.mapping(z, None)
            G.set_transform(torch.eye(3))
            still = G.synthesis(ws)
            matrix = torch.eye(3, dtype=torch.float64)
            if motion == 'turn':
                c, s = math.cos(by[0]), math.sin(by[0])
                matrix[:2, :2] = torch.tensor([[c, s], [-s, c]])
            else:
                matrix[:2, 2] = by.double()
            G.set_transform(matrix)
            sums += errors(motion, still, G.synthesis(ws), by).sum(dim=0)
        assert psnr(*sums.tolist()) == pytest.approx(float(t['psnr'][k]), abs=tolerance)
