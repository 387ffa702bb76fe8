"""Command lines of a run: the one that repeats it, and the one that continues it."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Any

from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.run_state import RunState, total_kimg

PROGRAMS = {'train.py': 'python train.py', 'ganfoundry': 'ganfoundry', '__main__.py': 'python -m ganfoundry'}
EVERY_LAUNCH = ('--plugin', '--detector-path')  # options that no record keeps: they load code


def argv_of(record: dict[str, Any]) -> list[str]:
    """Returns the words of the command line in a record; none if it has none."""
    words = record.get('argv')
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else []


def program_of(argv: list[str]) -> str | None:
    """Returns how the program of a command line is called today; None for another program, such as one in Python."""
    name = Path(argv[0]).name if argv else ''
    return PROGRAMS.get(name)


def repeat_command(run: RunReading) -> str | None:
    """Returns the command that began the run; None if the record does not hold one."""
    argv = argv_of(run.record)
    program = program_of(argv)
    return None if program is None else f'{program} {shlex.join(argv[1:])}'.rstrip()


def resume_command(run: RunReading, state: RunState) -> str:
    """Returns the command that continues the run in the folder where it is now, or trains it for longer."""
    argv = argv_of(run.record)
    program = program_of(argv) or 'ganfoundry'
    words = run.log.continue_words or _every_launch(argv)
    total = total_kimg(run)
    if state.kind == 'finished' and total is not None:
        words = [word for word in words if not word.startswith('--kimg')] + [f'--kimg={2 * total:g}']
    train = [] if program == PROGRAMS['train.py'] else ['train']
    return f'{program} {shlex.join([*train, f"--resume={run.folder.path}", *words])}'


def _every_launch(argv: list[str]) -> list[str]:
    """Returns the options of a command line that every launch of its run needs."""
    words = []
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue=''):
        name, equals, _ = word.replace('_', '-').partition('=')
        if name in EVERY_LAUNCH:
            words.append(word if equals else f'{name}={following}')
    return words
