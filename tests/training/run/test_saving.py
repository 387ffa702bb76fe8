"""Saver: states that stay, the time of a save, and failed writes that are reported."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnnlib.errors import RecordError
from dnnlib.log import Log
from tests.support.steps import CPU, tiny
from torch_utils import checkpoint
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.run.run_folder import RunFolder
from training.run.saving import Saver


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[tuple[Saver, list[float]]]:
    """A saver that keeps one state besides that of 4 images, and the durations that it reported."""
    dataset = ImageDataset(DataConfig(resolution=8))
    state, folder, seconds = build(tiny(dataset), dataset.spec, CPU), RunFolder(tmp_path), list[float]()
    with Log(tmp_path / 'log.txt') as log:
        yield Saver(state, folder, log, 1, lambda: {'nimg': 4}, seconds.append, 0.5, {'run_id': 'r'}), seconds


def save_at(saver: Saver, *nimgs: int) -> list[int]:
    for nimg in nimgs:
        saver._state.nimg = nimg
        saver.save_state()
    return [int(path.name) for path in checkpoint.list_states(saver._folder.states)]


def test_the_newest_states_stay_and_that_of_the_best_snapshot(saver: tuple[Saver, list[float]]) -> None:
    assert save_at(saver[0], 4, 8, 12) == [4, 12]


def test_every_save_reports_its_duration_and_an_earlier_launchs_is_reported_first(saver) -> None:
    save_at(saver[0], 4, 8)
    assert saver[1] == [0.5, *saver[1][1:]]
    assert len(saver[1]) == 3
    assert saver[0].seconds == saver[1][-1] > 0


def test_a_full_disk_is_reported_and_earlier_states_stay(saver, monkeypatch, tmp_path: Path) -> None:
    save_at(saver[0], 4)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(checkpoint, 'save_state', full)
    assert save_at(saver[0], 8) == [4]
    assert '000000008: not saved' in (tmp_path / 'log.txt').read_text()


def test_a_picture_that_cannot_be_drawn_is_reported(saver, tmp_path: Path) -> None:
    def broken() -> None:
        raise ValueError('no pixels')

    saver[0].draw(broken, tmp_path / 'a.png')
    assert 'a.png: cannot be drawn (ValueError: no pixels); training continues' in (tmp_path / 'log.txt').read_text()


def test_states_of_a_run_folder_that_was_renamed_or_removed_can_be_resumed(saver, tmp_path: Path):
    folder = RunFolder(tmp_path / 'run')
    folder.path.mkdir()
    saver[0]._folder = folder
    saver[0]._path = folder.path
    with folder.held():
        folder.path.rename(tmp_path / 'renamed')
        save_at(saver[0], 8)
        assert [path.name for path in checkpoint.list_states(tmp_path / 'renamed' / 'state')] == ['000000008']
        assert f'the run folder is now {tmp_path / "renamed"}' in (tmp_path / 'log.txt').read_text()
        shutil.rmtree(tmp_path / 'renamed')
        save_at(saver[0], 12)
    assert json.loads((tmp_path / 'renamed' / 'config.json').read_text()) == {'run_id': 'r'}
    assert checkpoint.identity_of(tmp_path / 'renamed' / 'state' / '000000012') == (12, 'r')
    assert 'the run folder was removed' in (tmp_path / 'log.txt').read_text()


def test_no_state_is_removed_while_the_best_is_unknown(saver, tmp_path: Path) -> None:
    def unreadable() -> None:
        raise RecordError('metric-fd.jsonl: cannot be read')

    saver[0]._best = unreadable
    assert save_at(saver[0], 4, 8, 12) == [4, 8, 12]
    assert 'old states cannot be removed (metric-fd.jsonl: cannot be read)' in (tmp_path / 'log.txt').read_text()
