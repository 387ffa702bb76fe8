"""A short conditional run, trained by `gf.train`, and its network."""

from pathlib import Path

import pytest

import ganfoundry as gf
from tests.support.runs import make_zip, only_run

TINY = {
    'batch': 200,
    'batch_gpu': 100,
    'mbstd_group': 4,
    'metrics': 'none',
    'workers': 0,
    'tick': 0.4,
    'snap': 2,
    'device': 'cpu',
    'cbase': 192,
    'cmax': 16,
    'map_depth': 2,
    'set': {
        'grid_images': 16,
        'save_every_s': 0,
        'discriminator.channel_base': 192,
        'discriminator.channel_max': 16,
        'generator.z_dim': 16,
        'generator.w_dim': 16,
    },
}


@pytest.fixture(scope='session')
def labeled_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 40 images of 16x16 pixels with three classes."""
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory, labeled_data: Path) -> Path:
    """The folder of a short conditional run, trained by `gf.train`."""
    outdir = tmp_path_factory.mktemp('runs')
    folder = gf.train(cfg='squeeze', data=labeled_data, outdir=outdir, cond=True, kimg=1, **TINY)
    assert folder == only_run(outdir)
    return folder


@pytest.fixture(scope='session')
def G(trained: Path) -> gf.Network:
    """The network of the run."""
    return gf.load(trained, device='cpu')
