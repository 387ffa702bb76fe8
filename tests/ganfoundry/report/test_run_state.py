"""The state of a run in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dnnlib.folders import exclusive
from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.run_state import moment_text, remaining_s, sec_per_kimg, state_of
from tests.support.run_folders import BEGAN, tick_line, write_run


def read(path: Path) -> RunReading:
    """Returns a run, read once."""
    run = RunReading(path, 'run')
    run.update()
    return run


def test_a_complete_run_is_finished(finished: Path):
    state = state_of(read(finished))
    assert (state.kind, state.sentence.partition(';')[0]) == (
        'finished',
        'Finished at 6 of 6 kimg (100 %) after 1m 10s of training',
    )


def test_a_run_that_was_asked_to_stop_is_stopped(interrupted: Path):
    state = state_of(read(interrupted))
    assert state.kind == 'stopped'
    assert state.sentence.startswith('Stopped at 3 of 6 kimg (50 %)')


def test_a_run_that_says_nothing_was_killed(tmp_path: Path):
    state = state_of(read(write_run(tmp_path / 'run', num_ticks=3, ending='')))
    assert state.kind == 'lost'
    assert 'the process was killed' in state.sentence


def test_a_run_without_a_finite_step_has_diverged(tmp_path: Path):
    path = write_run(tmp_path / 'run', num_ticks=3, ending='')
    with (path / 'stats.jsonl').open('a') as file:
        file.write(tick_line(3, 3000, Health__nonfinite_steps=1, Loss__G__loss=float('nan')))
    assert state_of(read(path)).kind == 'diverged'


def test_a_locked_run_is_running_and_says_how_long_it_will(tmp_path: Path):
    path = write_run(tmp_path / 'run', num_ticks=3, ending='')
    with exclusive(path / '.lock'):
        now = BEGAN + 30
        state = state_of(read(path), now)
        copy = shutil.copytree(path, tmp_path / 'copy')
        assert state_of(read(copy), now).kind == 'lost'
    assert state.kind == 'running'
    assert f'about 40s left, until {moment_text(now + 40)}' in state.sentence


def test_a_run_of_another_machine_is_running_if_its_last_tick_is_recent(tmp_path: Path):
    path = write_run(tmp_path / 'run', num_ticks=3, ending='')
    (path / '.lock').write_text('pid 12 on elsewhere')
    run = read(path)
    assert state_of(run, BEGAN + 60).sentence.startswith('Running on elsewhere: 2 of 6 kimg')
    assert state_of(run, BEGAN + 36_000).kind == 'lost'


def test_the_speed_counts_what_is_between_ticks(tmp_path: Path):
    run = read(write_run(tmp_path / 'run', num_ticks=5))
    assert sec_per_kimg(run) == 10
    assert remaining_s(run) == 20


@pytest.mark.parametrize('name', ['stats.jsonl', 'config.json', 'log.txt'])
def test_a_missing_file_leaves_a_sentence(finished: Path, name: str):
    (finished / name).unlink()
    assert state_of(read(finished)).sentence.endswith('.')


def test_an_empty_folder_holds_nothing(tmp_path: Path):
    assert state_of(read(tmp_path)).kind == 'empty'


def test_a_moment_beyond_the_calendar_is_unknown():
    assert moment_text(1e30) == moment_text(float('nan')) == '?'
