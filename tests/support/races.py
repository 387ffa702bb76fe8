"""Comparisons of tiny generators, whose runs are trained in this process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, ClassVar

import pytest

from dnnlib.errors import UserError
from ganfoundry.commands import compare, train
from ganfoundry.compare import job as jobs

NARROW = tuple(
    f'--set={net}.channel_{which}' for net in ('generator', 'discriminator') for which in ('base=96', 'max=8')
)
# 40 steps of 25 images; measured at 0.275, 0.525, 0.775 and 1 kimg.
TINY = ('--kimg=1', '--batch=25', '--metric=fd_efflite8,kid_efflite8', '--measurements=4', '--threads=1', '--cond=1',
        '--device=cpu', '--set=pl.weight=0', '--set=workers=0', '--set=generator.map_depth=2',
        '--set=generator.z_dim=16', '--set=generator.w_dim=16', '--set=discriminator.mbstd_group=5',
        *NARROW)  # fmt: skip
# Two that train, and one that train.py refuses.
ROWS = ('--cfgs=auto,squeeze,bad=cifar', '--set=bad:generator.channel_max=0')
CLOCKED = ('seconds', 'sec_per_kimg', 'memory_gb', 'folder', 'command')


class Killed(BaseException):
    """The end of a comparison by kill -9."""


class InProcess:
    """Stand-in of `subprocess.Popen` that trains in this process, at once.

    Attributes:
        launched: Words of every launch, from the flags of train.py on.
        fault: Called with them before training; may change them or raise.
    """

    launched: ClassVar[list[list[str]]] = []
    fault: ClassVar[Callable[[list[str]], None]] = staticmethod(lambda words: None)

    def __init__(self, words: Sequence[str], *, stderr: IO[str], **rest: Any) -> None:
        flags = list(words[[Path(word).name for word in words].index('train.py') + 1 :])
        self.launched.append(flags)
        self.fault(flags)
        self.returncode = 0
        try:
            train.main.main(flags, standalone_mode=False)
        except SystemExit as ended:
            self.returncode = int(ended.code or 0)
        except UserError as error:
            stderr.write(f'Error: {error}\n')
            self.returncode = 2

    def poll(self) -> int:
        """Returns the exit code."""
        return self.returncode


def in_process(patch: pytest.MonkeyPatch, fault: Callable[[list[str]], None] = lambda words: None) -> list[list[str]]:
    """Lets comparisons train in this process. Returns the list of their launches.

    Args:
        patch: Undoes it.
        fault: As in `InProcess`.
    """
    patch.setattr(jobs, 'subprocess', SimpleNamespace(Popen=InProcess, DEVNULL=subprocess.DEVNULL))
    patch.setattr(InProcess, 'launched', [])
    patch.setattr(InProcess, 'fault', staticmethod(fault))
    return InProcess.launched


def race(out: Path, data: Path, *flags: str) -> None:
    """Runs a command line of compare.py in this process."""
    compare.main.main([f'--out={out}', f'--data={data}', *TINY, *flags], standalone_mode=False)


def table(out: Path) -> dict[str, Any]:
    """Returns table.json."""
    record: dict[str, Any] = json.loads((out / 'table.json').read_text())
    return record


def result(out: Path) -> dict[str, Any]:
    """Returns table.json without what depends on the clock, the machine and the place."""
    stripped: dict[str, Any] = without(table(out), CLOCKED)
    return stripped


def without(value: Any, names: Sequence[str]) -> Any:
    """Returns a record without the entries of these names, at any depth."""
    if isinstance(value, dict):
        return {key: without(inner, names) for key, inner in value.items() if key not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def run_folder(out: Path, row: str, seed: int = 0) -> Path:
    """Returns the folder of a run."""
    (folder,) = (out / f'{row}-seed{seed}').glob('0*')
    return folder
