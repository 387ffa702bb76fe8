"""Commands that repeat and that continue a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ganfoundry.report.run_commands import repeat_command, resume_command
from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.run_state import state_of
from tests.support.run_folders import write_run


def commands_of(path: Path) -> tuple[list[str] | None, list[str]]:
    """Returns the words of both commands."""
    run = RunReading(path, 'run')
    run.update()
    repeat = repeat_command(run)
    return repeat and shlex.split(repeat), shlex.split(resume_command(run, state_of(run)))


def test_a_stopped_run_continues_where_it_is_with_the_options_of_its_log(interrupted: Path):
    repeat, resume = commands_of(interrupted)
    assert repeat == ['python', 'train.py', '--cfg=squeeze', '--kimg=6', '--plugin', '/a b/mine.py']
    assert resume == ['python', 'train.py', f'--resume={interrupted}', '--plugin=/a b/mine.py']


def test_a_finished_run_trains_for_longer(finished: Path):
    _, resume = commands_of(finished)
    assert resume == ['python', 'train.py', f'--resume={finished}', '--plugin=/a b/mine.py', '--kimg=12']


@pytest.mark.parametrize(
    ('argv', 'repeat', 'resume'),
    [
        (['/x/ganfoundry', 'train', '--cfg=auto'], ['ganfoundry', 'train', '--cfg=auto'], ['ganfoundry', 'train']),
        (['/x/__main__.py', 'train'], ['python', '-m', 'ganfoundry', 'train'], ['python', '-m', 'ganfoundry', 'train']),
        (['my_script.py'], None, ['ganfoundry', 'train']),
        ([], None, ['ganfoundry', 'train']),
        ('train.py', None, ['ganfoundry', 'train']),
        ([1, 2], None, ['ganfoundry', 'train']),
    ],
)
def test_the_program_is_the_one_of_the_record(tmp_path: Path, argv: Any, repeat: Any, resume: list[str]):
    path = write_run(tmp_path / 'run', num_ticks=2, ending='', record={'argv': argv})
    assert commands_of(path) == (repeat, [*resume, f'--resume={path}'])


def test_a_word_with_spaces_stays_one_word(tmp_path: Path):
    path = write_run(tmp_path / 'run', ending='', record={'argv': ['train.py', '--desc=a b; rm -rf "$HOME"']})
    repeat, _ = commands_of(path)
    assert json.dumps(repeat) == json.dumps(['python', 'train.py', '--desc=a b; rm -rf "$HOME"'])
