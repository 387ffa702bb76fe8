"""Run folder: names of files, curves of comparable lines, the best snapshot, and the removal of later records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dnnlib.errors import CheckpointError
from dnnlib.files import append_line
from torch_utils import checkpoint
from training.run.run_folder import RunFolder


def line(nimg: int, value: float, **provenance: object) -> dict:
    return {'nimg': nimg, 'results': {'fd': value}, 'provenance': provenance}


def folder_with(path: Path, *lines: dict) -> RunFolder:
    folder = RunFolder(path)
    for record in lines:
        append_line(folder.metric('fd'), json.dumps(record))
    return folder


def test_files_are_named_by_whole_kimg_as_before_and_by_images_between_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.snapshot(200_000).name == 'network-snapshot-000200.safetensors'
    assert folder.snapshot(200_032).name == 'network-snapshot-000200_032.safetensors'
    assert folder.sheet(1_999).name == 'fakes000001_999.png'
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
    assert json.loads((tmp_path / 'best.json.before-1').read_text())['nimg'] == 2000


def test_the_best_record_names_the_weights_that_were_measured(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.record_best({**line(250, 5.0), 'snapshot': 'network-snapshot-000000.safetensors'})  # an earlier version's
    assert json.loads(folder.best_record.read_text())['snapshot'] == 'network-snapshot-000000.safetensors'


def test_no_two_moments_share_a_name_and_names_sort_by_time(tmp_path: Path) -> None:
    folder, moments = RunFolder(tmp_path), [*range(0, 3000, 7), 1000, 2000, 25_000_000, 25_000_032, 999_999_999]
    names = [folder.snapshot(nimg).name for nimg in sorted(moments)]
    assert sorted(set(names)) == names
    assert len({folder.sheet(nimg).name for nimg in moments}) == len(moments)


def test_rewinding_keeps_every_line_and_touches_no_file_without_later_ones(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, line(1000, 9.0))
    before = folder.metric('fd').stat().st_mtime_ns, folder.metric('fd').stat().st_ino
    texts = [json.dumps({'nimg': nimg, 'loss': float('nan')}) for nimg in (1000, 2000, 3000)]
    folder.stats.write_text('\n'.join([*texts, '{"nimg": 3']))
    folder.rewind(2000)
    assert folder.stats.read_text() == '\n'.join([*texts[:2], ''])
    assert (tmp_path / 'stats.jsonl.before-1').read_text() == '\n'.join([texts[2], '{"nimg": 3'])
    folder.rewind(2000)
    folder.rewind(1000)
    assert (tmp_path / 'stats.jsonl.before-2').read_text() == texts[1] + '\n'
    assert not (tmp_path / 'stats.jsonl.before-3').exists()
    assert (folder.metric('fd').stat().st_mtime_ns, folder.metric('fd').stat().st_ino) == before
    folder.metric('fd').chmod(0o444)
    folder.rewind(1000)


@pytest.mark.parametrize('text', ['{}', '[]', '7', '{"nimg": "x"}', '[' * 9999, '{"nimg": 1, "results": {}}', '\0\xff'])
def test_damaged_lines_are_passed_over_and_set_aside(tmp_path: Path, text: str) -> None:
    folder = folder_with(tmp_path, line(1000, 9.0))
    stats = json.dumps({'nimg': 1000, 'Progress/tick': {'mean': 1}})
    folder.stats.write_text(f'{stats}\n{text}\n')
    with folder.metric('fd').open('a') as file:
        file.write(f'{text}\n')
    assert folder.last_stats()['nimg'] == 1000 or text.startswith('{"nimg": 1,')
    assert [found['nimg'] for found in folder.curve('fd')] == [1000]
    folder.rewind(1000)
    assert folder.results('fd') == [line(1000, 9.0)]


def test_records_that_cannot_be_read_are_an_error_that_names_them(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.stats.mkdir()
    with pytest.raises(CheckpointError, match=r'stats\.jsonl: a folder'):
        folder.last_stats()


def test_a_folder_that_is_held_is_followed_when_it_is_renamed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / 'a')
    folder.path.mkdir()
    with folder.held():
        folder.path.rename(tmp_path / 'b')
        assert folder.states == tmp_path / 'b' / 'state'
        append_line(folder.stats, json.dumps({'nimg': 1}))
    assert folder.path == tmp_path / 'b'
    assert not (tmp_path / 'a').exists()
    with pytest.raises(CheckpointError, match='cannot be opened'), RunFolder(tmp_path / 'absent').held():
        pass


RECORD = {'config': {'cfg': 'auto'}, 'facts': {}}


@pytest.mark.parametrize(
    'record', [None, '{', '{}', '[]', 'null', '{"config": 1, "facts": {}}', '{"config": {}, "facts": {}}', '[' * 9999]
)
def test_a_record_that_is_none_is_refused_in_words(tmp_path: Path, record: str | None) -> None:
    if record is not None:
        (tmp_path / 'config.json').write_text(record)
    with pytest.raises(CheckpointError, match=r'config\.json: missing or unreadable \(.*restore the file'):
        RunFolder(tmp_path).record()


def saved(folder: RunFolder, nimg: int, run_id: str | None, name: int | None = None) -> Path:
    state = f'{nimg if name is None else name:09d}'
    return checkpoint.save_state(folder.states, state, {'a': torch.zeros(1)}, {'nimg': nimg}, run_id)


@pytest.mark.parametrize(
    ('mine', 'theirs', 'taken'),
    [('a', 'a', True), ('a', 'b', False), ('a', None, True), (None, 'b', False), (None, None, True)],
)
def test_a_state_of_another_run_is_passed_over_and_old_ones_without_id_are_taken(
    tmp_path: Path, mine: str | None, theirs: str | None, taken: bool
) -> None:
    folder, said = RunFolder(tmp_path), list[str]()
    folder.config.write_text(json.dumps(RECORD | ({'run_id': mine} if mine else {})))
    saved(folder, 8, mine)
    saved(folder, 16, theirs)
    assert int(folder.newest_state(said.append).name) == (16 if taken else 8)
    assert [('000000016: is a state of another run' in text) for text in said] == ([] if taken else [True])


def test_a_state_under_another_name_is_passed_over(tmp_path: Path) -> None:
    folder, said = RunFolder(tmp_path), list[str]()
    saved(folder, 8, None)
    saved(folder, 4, None, name=16)
    assert folder.newest_state(said.append).name == '000000008'
    assert 'is the state at 4 images under another name' in said[0]


def test_without_a_usable_state_the_error_has_a_way_out(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text(json.dumps(RECORD | {'run_id': 'a'}))
    saved(folder, 8, 'b')
    with pytest.raises(CheckpointError, match='start a new run without --resume'):
        folder.newest_state(lambda text: None)


def test_a_trained_run_without_states_is_not_begun_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.check_unbegun()
    append_line(folder.stats, json.dumps({'nimg': 32}))
    folder.snapshot(32).touch()
    folder.check_unbegun()  # killed after the first tick, before its state
    append_line(folder.stats, json.dumps({'nimg': 64}))
    with pytest.raises(
        CheckpointError, match=r'state: holds no training state.*2 ticks in stats\.jsonl, 1 snapshots'
    ) as caught:
        folder.check_unbegun()
    assert f'--resume={folder.snapshot(32)}' in str(caught.value)
    folder.stats.unlink()
    folder.snapshot(64).touch()
    with pytest.raises(CheckpointError, match='2 snapshots'):
        folder.check_unbegun()
