"""Restore: the newest state, else the networks of another run, else fresh networks; later records go."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from dnnlib.files import append_line
from dnnlib.log import Log
from tests.support.steps import CPU, assert_same, tiny
from torch_utils import checkpoint
from torch_utils.distributed import World
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.run.restore import restore
from training.run.run_folder import RunFolder
from training.run.transfer import Source
from training.state import TrainState


def fresh(seed: int = 0) -> TrainState:
    dataset = ImageDataset(DataConfig(resolution=8))
    return build(tiny(dataset, seed=seed), dataset.spec, CPU)


def restored(folder: RunFolder, source: Source | None = None) -> TrainState:
    state = fresh()
    with Log(folder.path / 'log.txt') as log:
        restore(state, folder, source, log, World())
    return state


def source_of(state: TrainState) -> Source:
    tensors = {f'G_ema.{name}': value for name, value in state.G_ema.state_dict().items()}
    return Source(tensors=tensors, origin={'given': 'x', 'file': 'x', 'sha256': '0' * 64})


def test_the_newest_state_is_loaded_and_later_records_are_removed(tmp_path: Path) -> None:
    folder, state = RunFolder(tmp_path), fresh(seed=1)
    for nimg in (4, 8):
        state.nimg = nimg
        checkpoint.save_state(folder.states, f'{nimg:09d}', state.tensors(), state.scalars())
    for nimg in (8, 12):
        append_line(folder.stats, json.dumps({'nimg': nimg}))
    assert_same(restored(folder, source_of(fresh(seed=2))), state)
    assert folder.last_stats()['nimg'] == 8


def test_a_new_folder_takes_the_networks_of_another_run_and_says_so(tmp_path: Path) -> None:
    other = fresh(seed=1)
    state = restored(RunFolder(tmp_path), source_of(other))
    for net in (state.G, state.G_ema):
        assert all(torch.equal(value, other.G_ema.state_dict()[name]) for name, value in net.state_dict().items())
    assert state.nimg == 0
    assert json.loads((tmp_path / 'transfer.json').read_text())['networks'].keys() == {'G', 'D', 'G_ema'}


def test_a_new_folder_without_a_source_keeps_the_fresh_networks(tmp_path: Path) -> None:
    assert_same(restored(RunFolder(tmp_path)), fresh())
    assert not (tmp_path / 'transfer.json').exists()
