"""Snapshots: what goes in comes out, and a file that is none is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dnnlib.errors import CheckpointError
from dnnlib.registry import source_of
from tests.support.steps import CPU, tiny
from torch_utils.checkpoint import save_tensors
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
