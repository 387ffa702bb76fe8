"""Run folder: names of files, curves of comparable lines, the best snapshot, and the removal of later records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dnnlib.errors import CheckpointError
from dnnlib.files import append_line
from training.run.run_folder import RunFolder


def line(nimg: int, value: float, **provenance: object) -> dict:
    return {'nimg': nimg, 'results': {'fd': value}, 'provenance': provenance}


def folder_with(path: Path, *lines: dict) -> RunFolder:
    folder = RunFolder(path)
    for record in lines:
        append_line(folder.metric('fd'), json.dumps(record))
    return folder


def test_files_are_named_by_kimg(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.snapshot(200_000).name == 'network-snapshot-000200.safetensors'
    assert folder.sheet(1_999).name == 'fakes000001.png'
    assert folder.metric('fid50k_full').name == 'metric-fid50k_full.jsonl'


def test_a_curve_has_the_lines_that_compare_with_the_newest_one_sorted_and_finite(tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path,
        line(2000, 7.0, detector='old'),
        line(3000, 5.0, detector='new', seeds=[0]),
        line(1000, 9.0, detector='new'),
        line(4000, float('nan'), detector='new'),
        line(3000, 6.0, detector='new', seeds=[1]),
    )
    assert [(found['nimg'], found['results']['fd']) for found in folder.curve('fd')] == [(1000, 9.0), (3000, 6.0)]


def test_the_best_line_follows_the_direction_of_the_metric(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, line(1000, 9.0), line(2000, 5.0), line(3000, 7.0))
    best, worst = (folder.best('fd', lower_is_better=lower) for lower in (True, False))
    assert best is not None
    assert worst is not None
    assert (best['nimg'], worst['nimg']) == (2000, 1000)
    assert RunFolder(tmp_path / 'empty').best('fd', lower_is_better=True) is None


def test_the_best_record_is_written_once_and_removed_with_what_came_later(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, line(1000, 9.0), line(2000, 5.0))
    assert folder.record_best(line(2000, 5.0))
    assert not folder.record_best(line(2000, 5.0))
    assert json.loads(folder.best_record.read_text())['snapshot'] == 'network-snapshot-000002.safetensors'
    append_line(folder.stats, json.dumps({'nimg': 2000}))
    folder.rewind(1500)
    assert [found['nimg'] for found in folder.results('fd')] == [1000]
    assert folder.last_stats() == {}
    assert not folder.best_record.exists()


@pytest.mark.parametrize('text', [None, '{'])
def test_a_folder_without_a_readable_config_is_no_run_folder(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / 'config.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'config\.json: missing or unreadable'):
        RunFolder(tmp_path).record()
