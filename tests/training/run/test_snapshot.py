"""Snapshots: what goes in comes out, and a file that is none is named."""

from __future__ import annotations

import contextlib
import copy
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dnnlib.errors import CheckpointError
from dnnlib.registry import source_of
from tests.support.steps import CPU, tiny
from torch_utils.checkpoint import load_tensors, save_tensors
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.record import to_record
from training.registry import RECIPES
from training.run.snapshot import load_generator, load_snapshot, save_snapshot, write_snapshot


@pytest.fixture(scope='module')
def saved(tmp_path_factory: pytest.TempPathFactory):
    """A state with random weights, its record, and the file of its networks."""
    dataset = ImageDataset(DataConfig(resolution=8))
    cfg = tiny(dataset)
    state = build(cfg, dataset.spec, CPU)
    record = to_record(cfg, dataset.spec) | {'plugin': source_of(RECIPES.module_of(cfg.cfg))}
    path = tmp_path_factory.mktemp('snapshot') / 'a.safetensors'
    save_snapshot(path, state.G_ema, state.D, record, 1234)
    return state, record, path


def test_a_snapshot_has_both_networks_the_record_and_the_count(saved) -> None:
    state, record, path = saved
    snapshot = load_snapshot(path)
    assert (snapshot.nimg, snapshot.record) == (1234, record)
    assert set(snapshot.tensors) == {f'G_ema.{n}' for n in state.G_ema.state_dict()} | {
        f'D.{n}' for n in state.D.state_dict()
    }
    assert snapshot.config()[0].cfg == 'auto'


def test_the_generator_comes_back_bit_for_bit(saved) -> None:
    state, _, path = saved
    G = load_generator(load_snapshot(path), CPU, 'fp32')
    z, c = torch.randn(2, 8), torch.zeros(2, 0)
    assert not G.training
    assert torch.equal(G(z, c, noise_mode='const'), state.G_ema(z, c, noise_mode='const'))


def test_tensors_that_do_not_fit_the_config_are_an_error_with_the_files_name(saved, tmp_path: Path) -> None:
    snapshot = load_snapshot(saved[2])
    fewer = {name: tensor for name, tensor in snapshot.tensors.items() if 'fc0' not in name}
    write_snapshot(tmp_path / 'b.safetensors', fewer, snapshot.record, 0)
    with pytest.raises(CheckpointError, match=r'b\.safetensors: does not fit --cfg=auto'):
        load_generator(load_snapshot(tmp_path / 'b.safetensors'), CPU, 'fp32')


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    save_tensors(tmp_path / 'c.safetensors', {'x': torch.zeros(1)}, {'format': 'other'})
    with pytest.raises(CheckpointError, match=r'c\.safetensors: not a network snapshot of this project'):
        load_snapshot(tmp_path / 'c.safetensors')


def edited(saved, tmp_path: Path, change) -> Path:
    """Writes the snapshot with a changed record and returns its path."""
    snapshot = load_snapshot(saved[2])
    record = copy.deepcopy(snapshot.record)
    changed = change(record)
    write_snapshot(tmp_path / 'b.safetensors', snapshot.tensors, changed if changed == [] else record, 0)
    return tmp_path / 'b.safetensors'


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda r: [], 'expected an object'),
        (lambda r: r.clear(), 'has no "config"'),
        (lambda r: r.pop('facts'), 'has no "facts"'),
        (lambda r: r['config'].update(cfg=7), '"cfg" is 7; expected a text'),
        (lambda r: r['config'].update(generator=3), '"generator" is 3; expected an object'),
        (lambda r: r['config']['generator'].pop('kind'), 'has no "kind"'),
        (lambda r: r['config']['generator'].update(map_depth=10**7), 'generator.map_depth=10000000: must lie between'),
        (lambda r: r['config']['generator'].update(channel_base=0), 'its record: channel_base=0: must be at least 1'),
        (lambda r: r['config']['generator'].update(channel_max=-8), 'channel_max=-8: must be at least 1'),
        (lambda r: r['config']['generator'].update(z_dim=2**40), 'generator.z_dim'),
        (lambda r: r['config'].update(batch=0), '--batch must be at least 1'),
        (lambda r: r['config'].update(metrics=5), 'config.metrics=5: expected a list'),
        (lambda r: r['facts'].update(resolution=2**30), '"resolution" is 1073741824; expected a whole number from 1'),
        (lambda r: r['facts'].update(resolution=12), 'expected a power of two'),
        (lambda r: r['facts'].update(channels=0), '"channels" is 0'),
        (lambda r: r['facts'].update(base=[4]), 'expected two numbers from 1'),
        (lambda r: r['facts'].update(base=[10**9, 4]), 'expected two numbers from 1'),
        (lambda r: r['facts'].update(label_dim=10**9), '"label_dim" is 1000000000'),
        (lambda r: (r['config'].update(cfg='far'), r.pop('plugin')), 'has no "plugin"'),
        (
            lambda r: (r['config'].update(cfg='far'), r['plugin'].update(file='', sha256='')),
            'made with --cfg=far of the cells of a notebook; run those cells first',
        ),
    ],
)
def test_a_damaged_or_absurd_record_is_refused_with_the_files_name(saved, tmp_path: Path, change, said) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_generator(load_snapshot(edited(saved, tmp_path, change)), CPU, 'fp32')
    assert str(caught.value).startswith(f'{tmp_path / "b.safetensors"}: ')
    assert said in str(caught.value)
    assert len(str(caught.value)) < 700


def test_300_mutations_of_a_record_are_drawn_or_refused(saved, tmp_path: Path) -> None:
    """Values of a record are replaced and removed at random; nothing else than our own error comes out."""
    draw, snapshot = random.Random(2), load_snapshot(saved[2])
    values = (None, True, -1, 0, 3, 2**62, 1e300, '', 'nan', 'none', [], [[]], {}, {'kind': {}}, 'x' * 1000)
    for _ in range(300):
        record = copy.deepcopy(snapshot.record)
        for _ in range(draw.randint(1, 3)):
            place = record
            while True:
                key = draw.choice(list(place)) if place else 'new'
                if isinstance(place.get(key), dict) and draw.random() < 0.9:
                    place = place[key]
                    continue
                if draw.random() < 0.3:
                    place.pop(key, None)
                else:
                    place[key] = draw.choice(values)
                break
        with contextlib.suppress(CheckpointError):
            load_generator(replace(snapshot, record=record), CPU, 'fp32')


@pytest.mark.parametrize('metadata', [{'record': '{'}, {'record': '[' * 5000}, {'nimg': '-1'}, {'nimg': '1' * 400}])
def test_a_damaged_header_is_refused(saved, tmp_path: Path, metadata) -> None:
    tensors, header = load_tensors(saved[2])
    save_tensors(tmp_path / 'b.safetensors', tensors, header | metadata)
    with pytest.raises(CheckpointError, match=r'b\.safetensors: its'):
        load_snapshot(tmp_path / 'b.safetensors')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused_with_a_way_out(saved, tmp_path: Path, value) -> None:
    snapshot = load_snapshot(saved[2])
    name = next(name for name in snapshot.tensors if name.startswith('G_ema.') and name.endswith('weight'))
    broken = snapshot.tensors[name].clone()
    broken.view(-1)[-1] = value
    write_snapshot(tmp_path / 'b.safetensors', snapshot.tensors | {name: broken}, snapshot.record, 0)
    with pytest.raises(CheckpointError, match=r'holds NaN or infinity: the run had diverged.*use an earlier snapshot'):
        load_generator(load_snapshot(tmp_path / 'b.safetensors'), CPU, 'fp32')


def test_a_pipe_or_a_folder_is_no_network(tmp_path: Path) -> None:
    for name in ('net', 'net.pkl', 'net.safetensors'):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CheckpointError, match='a named pipe; expected a file'):
            load_snapshot(tmp_path / name)
    with pytest.raises(CheckpointError, match='a folder; expected a file'):
        load_snapshot(tmp_path)
