"""Losses: the points are those of stats.jsonl, with unreadable lines passed over and NaN left out of the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dnnlib.errors import ConfigError
from ganfoundry.inspection.losses import draw_losses, losses_of


def write_run(folder: Path, values: list[tuple[int, float, float]]) -> Path:
    folder.mkdir()
    lines = [{'nimg': n, 'Loss/G/loss': {'mean': g}, 'Loss/D/loss': {'mean': d}} for n, g, d in values]
    (folder / 'stats.jsonl').write_text(''.join(f'{json.dumps(line)}\n' for line in lines) + '{"nimg": 9')
    return folder


def test_points_are_those_of_the_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / 'a', [(1000, 0.5, 1.5), (2500, 0.25, 1.25)])
    assert losses_of(run) == {'G': [(1.0, 0.5), (2.5, 0.25)], 'D': [(1.0, 1.5), (2.5, 1.25)]}


def test_two_runs_share_a_picture_and_a_nan_does_not_end_it(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / 'a', [(1000, 0.5, 1.5), (2000, float('nan'), 1.0)]),
        write_run(tmp_path / 'b', [(1000, 2.0, 0.5)]),
    ]
    facts = draw_losses(runs, tmp_path / 'losses.png')
    assert list(facts['runs']) == ['a', 'b']
    assert len(facts['runs']['a']['G']) == 2
    with Image.open(tmp_path / 'losses.png') as picture:
        assert picture.width > 100


def test_a_folder_without_losses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='name the folder of a run that has trained for at least one tick'):
        losses_of(tmp_path)
