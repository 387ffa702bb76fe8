"""Restore: the newest state, else the networks of another run, else fresh networks; later records go."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from dnnlib.errors import CheckpointError
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


def test_a_run_whose_states_are_gone_is_not_begun_again_over_its_records(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for nimg in (4, 8):
        append_line(folder.stats, json.dumps({'nimg': nimg}))
    before = folder.stats.read_bytes()
    with pytest.raises(CheckpointError, match='holds no training state'):
        restored(folder)
    assert folder.stats.read_bytes() == before


@pytest.mark.parametrize('file', [checkpoint.TENSORS, checkpoint.SCALARS, checkpoint.MANIFEST])
@pytest.mark.parametrize('fault', ['EIO', 'pipe', 'nested'])
def test_a_newest_state_that_cannot_be_read_is_named_and_the_one_before_it_loaded(tmp_path, monkeypatch, file, fault):
    folder, state = RunFolder(tmp_path), fresh(seed=1)
    for nimg in (4, 8):
        state.nimg = nimg
        newest = checkpoint.save_state(folder.states, f'{nimg:09d}', state.tensors(), state.scalars()) / file
    if fault == 'pipe':
        newest.unlink()
        os.mkfifo(newest)
    elif fault == 'nested':
        newest.write_text('[' * 100_000)
    else:
        opened = os.open

        def broken(path, *args, **how):
            if Path(path) == newest:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return opened(path, *args, **how)

        monkeypatch.setattr(os, 'open', broken)
    assert restored(folder).nimg == 4
    log = (tmp_path / 'log.txt').read_text()
    assert f'WARNING: {newest}' in log
    assert 'falling back to the state before it' in log


def test_later_records_that_cannot_be_set_aside_are_an_error_before_the_first_step(tmp_path, monkeypatch) -> None:
    folder = RunFolder(tmp_path)
    append_line(folder.stats, json.dumps({'nimg': 4}))

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr('dnnlib.files.write_bytes', full)
    with pytest.raises(CheckpointError, match=r'cannot be set aside \(.*No space left.*make room'):
        restored(folder)
    assert folder.last_stats()['nimg'] == 4


def test_a_transfer_report_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / 'transfer.json').mkdir()
    restored(RunFolder(tmp_path), source_of(fresh(seed=1)))
    assert 'transfer.json: cannot be written' in (tmp_path / 'log.txt').read_text()
