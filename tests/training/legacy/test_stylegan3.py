"""Official StyleGAN3 files are read as data, and draw the official images, moved ones too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import extensions.stylegan3  # noqa: F401  registered before a file is read
from dnnlib.errors import CheckpointError
from ganfoundry.network import load
from ganfoundry.transform_option import Transform, apply_transform
from tests.support.stylegan3 import GOLDEN, load_tensors
from training.legacy.convert import load_official
from training.legacy.networks import read_generator
from training.legacy.reader import read_network_pickle


@pytest.mark.parametrize(('name', 'cfg'), [('t32', 'stylegan3-t'), ('r32', 'stylegan3-r')])
def test_tensors_and_configs_are_those_of_the_file(name: str, cfg: str) -> None:
    official = load_official(GOLDEN / f'stylegan3_official_layout_{name}.pkl')
    t, meta = load_tensors(f'stylegan3_net_{name}')
    for net, prefix in (('G_ema', 'G.'), ('D', 'D.')):
        expected = {key.removeprefix(prefix): value for key, value in t.items() if key.startswith(prefix)}
        assert len(expected) > 20
        for key, value in expected.items():
            assert torch.equal(official.tensors[f'{net}.{key}'], value)
    config = official.record['config']
    assert config['cfg'] == cfg
    for field in ('channel_base', 'channel_max', 'num_layers', 'magnitude_ema_beta'):
        assert config['generator'][field] == meta[field]
    assert not list(Path.cwd().glob('PICKLE_CODE_RAN*'))


@pytest.mark.parametrize('name', ['t32', 'r32'])
def test_a_file_draws_the_official_images(name: str) -> None:
    network = load(GOLDEN / f'stylegan3_official_layout_{name}.pkl', device='cpu')
    with np.load(GOLDEN / f'stylegan3_generate_{name}.npz', allow_pickle=False) as file:
        meta = json.loads(str(file['meta']))
        expected = {key: file[key] for key in file if key != 'meta'}
    moved = Transform(translate=tuple(meta['moved']['translate']), rotate=meta['moved']['rotate'])
    assert len(expected) == 4
    for kind, transform in (('plain', Transform()), ('moved', moved)):
        apply_transform(network.module, transform, network.spec, 'the network')
        for psi in (1.0, 0.7):
            images = network.images(meta['seeds'], psi=psi).astype(int)
            difference = np.abs(images - expected[f'psi{psi}.{kind}'].astype(int))
            assert difference.max() <= 1  # the official code truncates, this one rounds
            assert (difference > 0).mean() < 0.6


def test_a_file_whose_filters_are_not_those_of_its_arguments_is_refused() -> None:
    path = GOLDEN / 'stylegan3_official_layout_t32.pkl'
    module = read_network_pickle(path)['G_ema']
    layer = module.state['_modules']['synthesis'].state['_modules']['L2_36_16']
    layer.state['_buffers']['down_filter'] = layer.state['_buffers']['down_filter'] * 1.001
    with pytest.raises(CheckpointError, match=r'L2_36_16\.down_filter is not the filter'):
        read_generator(module, 'file')


def test_arguments_that_no_network_here_has_are_refused_by_name() -> None:
    module = read_network_pickle(GOLDEN / 'stylegan3_official_layout_t32.pkl')['G_ema']
    module.state['_init_kwargs']['fourier_levels'] = 3
    with pytest.raises(CheckpointError, match="made with 'fourier_levels', which is not known here"):
        read_generator(module, 'file')
