"""The trained network of `examples/networks`: small, without traces of a machine, and worth drawing with."""

import shlex

import numpy as np

import ganfoundry as gf
from tests.conftest import ROOT
from training.run.snapshot import load_snapshot

PATH = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'


def test_the_network_is_small_and_names_no_place():
    assert PATH.stat().st_size < 3e6
    record = load_snapshot(PATH).record
    assert not any('/' in word for word in record['argv'])
    assert record['plugin']['file'] == 'extensions/squeeze.py'
    assert 'machine' not in record


def test_its_page_has_the_command_of_its_record():
    page = PATH.with_name('README.md').read_text()
    command = page.split('OMP_NUM_THREADS=1 python ')[1].split('```')[0]
    snapshot = load_snapshot(PATH)
    assert shlex.split(command.replace('\\\n', ' ')) == snapshot.record['argv']
    assert snapshot.nimg == snapshot.record['config']['kimg'] * 1000
    assert snapshot.record['threads'] == 1


def test_it_draws_different_images_of_the_range_of_a_trained_network():
    images = gf.load(PATH, device='cpu').images(range(8)).astype(float)  # [N, H, W, C]
    assert images.shape == (8, 32, 32, 3)
    differences = [np.abs(a - b).mean() for a in images for b in images if a is not b]
    assert np.mean(differences) > 25
    assert 60 < images.mean() < 200
