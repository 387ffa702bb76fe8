"""Saver: states that stay, the time of a save, and failed writes that are reported."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

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
        yield Saver(state, folder, log, 1, lambda: {'nimg': 4}, seconds.append, 0.5), seconds


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
