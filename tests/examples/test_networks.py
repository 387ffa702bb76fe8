"""The trained network of `examples/networks`: small, without traces of a machine, and worth drawing with."""

import numpy as np

import ganfoundry as gf
from tests.conftest import ROOT
from training.run.snapshot import load_snapshot

PATH = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'


def test_the_network_is_small_and_names_no_place():
    assert PATH.stat().st_size < 1.5e6
    record = load_snapshot(PATH).record
    assert not any('/' in word for word in record['argv'])
    assert record['plugin']['file'] == 'extensions/squeeze.py'
    assert 'machine' not in record


def test_it_draws_different_images_of_the_range_of_a_trained_network():
    images = gf.load(PATH, device='cpu').images(range(8)).astype(float)  # [N, H, W, C]
    assert images.shape == (8, 32, 32, 3)
    differences = [np.abs(a - b).mean() for a in images for b in images if a is not b]
    assert np.mean(differences) > 25
    assert 60 < images.mean() < 200
