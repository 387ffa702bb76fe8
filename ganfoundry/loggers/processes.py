"""The processes that `train.py --log` starts, seen from training: their start, their death, and the end of the run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dnnlib.printable import printable
from ganfoundry.loggers.child import TRAINER
from ganfoundry.loggers.position import file_stem
from torch_utils import launched

# Variables of launchers, by which a process knows its place among those that train.
LAUNCHERS = (launched.LAUNCHER, launched.BEGAN, launched.EXIT_FILE, launched.RUN_ID, launched.ATTEMPT, 'RANK',
             'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent.parent


class LogProcesses:
    """Processes that send the records of a run while it trains: `log_run.py RUN --to=NAME --follow`, one per logger.

    Each has a session of its own, so that signals to the group of this process do not reach it, and writes its output
    to RUN/log-NAME.txt. Nothing waits for them: after the end of training they have `child.LIMIT_S` left. A process
    that ends before is one warning.

    Args:
        names: Names of loggers.
        folder: The run folder.
        warn: Receives the warnings.

    Attributes:
        state: State of the run that the processes learn at the end: 'finished', 'stopped' or 'failed'.
    """

    def __init__(self, names: Sequence[str], folder: Path, warn: Callable[[str], None]) -> None:
        self.state = 'failed'
        self._names, self._folder, self._warn = names, folder, warn
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ended = False

    def __enter__(self) -> Self:
        for name in self._names:
            try:
                self._start(name)
            except OSError as error:
                self._warn(f'--log={name}: cannot be started ({error}); training continues')
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended = True
        for process in self._processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # it has ended
                process.stdin.write(self.state.encode())
                process.stdin.flush()
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _start(self, name: str) -> None:
        output = self._folder / f'{file_stem(name)}.txt'
        environment = {key: value for key, value in os.environ.items() if key not in LAUNCHERS}
        with output.open('ab') as file:
            process = subprocess.Popen(
                [*_program(), str(self._folder), f'--to={name}', '--follow'],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env={**environment, TRAINER: str(os.getpid())},
                start_new_session=True,
            )
        self._processes.append(process)
        threading.Thread(target=self._wait, args=(name, process, output), name=output.stem, daemon=True).start()

    def _wait(self, name: str, process: subprocess.Popen[bytes], output: Path) -> None:
        """Waits for the end of a process, and warns if training has not ended before."""
        code = process.wait()
        if not self._ended:
            how = f'was killed by signal {-code}' if code < 0 else f'has ended with exit code {code}'
            said = _last_error(output)
            self._warn(
                f'--log={name}: the process {how}{f" ({said})" if said else ""}; training continues, and '
                f'`python log_run.py {self._folder} --to={name}` sends the rest; see {output.name}'
            )


def _program() -> list[str]:
    """Returns the words that start log_run.py: the launcher of a clone, or the installed package."""
    launcher = ROOT / 'log_run.py'
    return [sys.executable, *([str(launcher)] if launcher.exists() else ['-P', '-m', 'ganfoundry', 'log-run'])]


def _last_error(output: Path) -> str:
    """Returns the last line of a file if it is an error for users, without its first word; else ''."""
    try:
        lines = output.read_text(errors='replace').splitlines()
    except OSError:
        return ''
    last = lines[-1] if lines else ''
    return (
        printable(last.removeprefix('Error: ').partition('; the same command')[0]) if last.startswith('Error: ') else ''
    )
