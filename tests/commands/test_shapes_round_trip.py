"""Images of every kind: from a data set through training to a snapshot, and out of generate.py again."""

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from ganfoundry.commands import generate
from metrics.streams.images import as_images, to_rgb
from tests.support.runs import TINY, call, last_state, make_zip, only_run
from training.build import build
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.record import to_record
from training.registry import RECIPES
from training.run.sampling import generated
from training.run.sheets import SampleSheet
from training.run.snapshot import save_snapshot
from training.step import TrainStep

RECIPES.load_all()
CPU = torch.device('cpu')
WIDTHS = {'channel_base': 192, 'channel_max': 16}
# name: what make_zip makes, and the mode of the PNGs that come out
KINDS = {
    'grey': ({'channels': 1}, 'L'),
    'RGB': ({}, 'RGB'),
    'RGBA': ({'channels': 4}, 'RGBA'),
    'grey with alpha': ({'channels': 2}, 'LA'),
    '3:2 landscape': ({'width': 24}, 'RGB'),
    '16-bit grey': ({'channels': 1, 'bits': 16}, 'I;16'),
    '6 planes of 16 bits': ({'channels': 6, 'width': 24, 'bits': 16}, 'RGB'),
    '6 planes': ({'channels': 6}, 'RGB'),
    '16-bit RGBA': ({'channels': 4, 'bits': 16}, 'RGBA'),
}
ARRAYS = ('6 planes of 16 bits', '6 planes', '16-bit RGBA')


def small(name: str, dataset: ImageDataset) -> RunConfig:
    """Returns the recipe with narrow networks, a batch of 4, and every regularizer in the first two steps."""
    cfg = RECIPES.get(name).make(dataset.spec, 1)
    generator = dataclasses.replace(cfg.generator, z_dim=8, w_dim=12, map_depth=1, **WIDTHS)
    discriminator = dataclasses.replace(cfg.discriminator, mbstd_group=2, **WIDTHS)
    return dataclasses.replace(cfg, generator=generator, discriminator=discriminator, batch=4, batch_gpu=2)


def drawn(snapshot: Path, outdir: Path, *flags: str) -> dict[str, Path]:
    generate.main.main([f'--network={snapshot}', f'--outdir={outdir}', '--device=cpu', *flags], standalone_mode=False)
    return {path.name: path for path in outdir.iterdir()}


@pytest.mark.parametrize('name', ['auto', 'squeeze'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_network_draws_what_it_was_trained_on(tmp_path, kind, name):
    how, mode = KINDS[kind]
    dataset = ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'a.zip', 8, **how))))
    spec, cfg = dataset.spec, small(name, dataset)
    state = build(cfg, spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    with data_loader(dataset, start_nimg=0, batch_size=4, seed=0, num_workers=0) as loader:
        for _ in range(2):
            step(*next(loader))
    assert state.stats.summary()['Health/nonfinite_steps']['mean'] == 0
    snapshot = tmp_path / 'network-snapshot-000000.safetensors'
    save_snapshot(snapshot, state.G_ema, state.D, to_record(cfg, spec), state.nimg)

    files = drawn(snapshot, tmp_path / 'out', '--seeds=0,1')
    with PIL.Image.open(files['seed0000.png']) as picture:
        assert (picture.mode, picture.size) == (mode, (spec.width, spec.height))
    arrays = (
        {f'seed000{i}.npy' for i in range(2)} if spec.channels > 4 or (spec.bits, spec.channels) == (16, 4) else set()
    )
    assert files.keys() == {'seed0000.png', 'seed0001.png', *arrays}
    for file in arrays:
        pixels = np.load(files[file], allow_pickle=False)
        assert pixels.shape == (spec.height, spec.width, spec.channels)
        assert pixels.dtype == f'uint{spec.bits}'

    (real,) = dataset.parts([range(8)])
    (fake,) = generated(state.G_ema, dataset, [range(8)], num_images=8, seed=0, batch_size=8)
    assert to_rgb(as_images(real)).shape == to_rgb(as_images(fake)).shape == (8, 3, spec.height, spec.width)

    sheet = SampleSheet(dataset, 8, seed=0, limit=4)
    sheet.save_reals(tmp_path / 'reals.png')
    sheet.save_fakes(sheet.draw_fakes(state.G_ema, 4), tmp_path / 'fakes.png', {})
    grid = drawn(snapshot, tmp_path / 'grid', '--grid=2x2')['grid-seeds0-3.png']
    for path in (tmp_path / 'reals.png', tmp_path / 'fakes.png', grid):
        with PIL.Image.open(path) as picture:
            assert picture.mode == ('L' if mode == 'I;16' else mode)
            assert picture.size == (2 * spec.width, 2 * spec.height)


def test_arrays_and_their_previews_are_one_drawing(tmp_path):
    dataset = ImageDataset(DataConfig(path=str(make_zip(tmp_path / 'a.zip', 4, channels=6, bits=16))))
    cfg = small('auto', dataset)
    state = build(cfg, dataset.spec, CPU)
    snapshot = tmp_path / 'network-snapshot-000000.safetensors'
    save_snapshot(snapshot, state.G_ema, state.D, to_record(cfg, dataset.spec), 0)
    files = drawn(snapshot, tmp_path / 'out', '--seeds=3')
    pixels = np.load(files['seed0003.npy'], allow_pickle=False)
    assert len(np.unique(pixels)) > 256  # more values than 8 bits have
    with PIL.Image.open(files['seed0003.png']) as picture:
        assert np.array_equal(np.asarray(picture), np.round(pixels[..., :3] * (255 / 65535)))


@pytest.mark.slow
def test_train_py_takes_16_bit_landscapes_of_6_planes(tmp_path):
    data = make_zip(tmp_path / 'a.zip', channels=6, width=24, bits=16)
    quick = ('--kimg=1', '--batch=40', '--batch-gpu=40', '--tick=1', '--workers=1')
    call(tmp_path / 'runs', *TINY, f'--data={data}', *quick)
    run = only_run(tmp_path / 'runs')
    with PIL.Image.open(run / 'fakes000001.png') as picture:
        assert (picture.mode, picture.width % 24, picture.height % 16) == ('RGB', 0, 0)
    _, scalars = last_state(run)
    assert scalars['nimg'] == 1000
