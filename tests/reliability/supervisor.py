"""Runs of train.py that are watched, struck and started again; and how files are damaged.

A run may take many launches (processes). It has come through if its last state and its losses are those of the same run
left in peace.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.support.forked_ranks import fork_ranks
from tests.support.forks import Launch, Zygote
from tests.support.runs import last_state, losses, only_run
from torch_utils.checkpoint import list_states, verify_state

MOMENTS = ROOT / 'tests' / 'reliability' / 'moments.py'


class Run:
    """A training run over as many launches as it takes.

    Args:
        zygote: The process from which launches are forked.
        where: Folder of the run, its plan and its output.
        flags: Flags of train.py.
        plan: Triples of moments.py.

    Attributes:
        interpreters: Whether the processes of --gpus=N are interpreters of their own, as those of users are, instead of
            forks of their launcher.
    """

    interpreters = False

    def __init__(self, zygote: Zygote, where: Path, flags: Sequence[str], plan: Sequence[tuple] = ()) -> None:
        self.zygote, self.where, self.outdir = zygote, where, where / 'runs'
        self.flags = [f'--outdir={self.outdir}', *flags]
        self.plan, self.launches = where / 'plan.json', list[Launch]()
        where.mkdir(parents=True, exist_ok=True)
        self.strike(*plan)

    def strike(self, *plan: tuple) -> None:
        """Writes the plan of the next launches."""
        new = self.plan.with_suffix('.new')  # a launch that has begun may be reading the plan
        new.write_text(json.dumps(plan))
        new.rename(self.plan)

    def launch(self, *flags: str) -> Launch:
        """Starts a launch, which continues the run if there is one."""
        output = self.where / f'output{len(self.launches)}.txt'
        resume = () if any(flag.startswith('--resume') for flag in flags) else ('--resume=auto',)
        every = [*self.flags, *flags, *resume, f'--plugin={MOMENTS}']
        call = f'tests.reliability.supervisor:{"train" if self.interpreters else "train_forked"}'
        self.launches.append(self.zygote.start(call, *every, output=output, env={'RELIABILITY_PLAN': str(self.plan)}))
        return self.launches[-1]

    def finish(self) -> list[int]:
        """Launches until the run is complete and returns the exit codes; a failure that was not planned is an error."""
        codes: list[int] = []
        while not codes or codes[-1] != 0:
            launch = self.launch()
            codes.append(launch.wait())
            assert codes[-1] in (0, -signal.SIGKILL, 143, 130), f'exit code {codes[-1]}:\n{launch.said()}'
            assert len(codes) < 30, 'the run does not get on'
        return codes

    @property
    def folder(self) -> Path:
        """Run folder; an error if there are several."""
        return only_run(self.outdir)

    def reached(self) -> list[dict[str, Any]]:
        """Returns when and where the run was struck."""
        path = self.where / 'reached.jsonl'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def all_struck(self) -> bool:
        """Whether the whole plan was carried out."""
        return json.loads(self.plan.read_text()) == []

    def num_lines(self) -> int:
        """Returns the number of ticks recorded so far."""
        files = list(self.outdir.glob('0*/stats.jsonl'))
        return len(files[0].read_text().splitlines()) if files else 0

    def num_states(self) -> int:
        """Returns the number of training states on disk."""
        return sum(len(list_states(folder / 'state')) for folder in self.outdir.glob('0*'))


def train(*flags: str) -> None:
    """Does what `python train.py FLAGS` does, in a forked process."""
    import torch

    from dnnlib.command import run_command
    from ganfoundry.commands import train as script

    torch.set_num_threads(1)
    sys.argv = ['train.py', *flags]
    run_command(script.main)


def train_forked(*flags: str) -> None:
    """Does the same, and the processes of --gpus=N are forked, too."""
    fork_ranks()
    train(*flags)


def fingerprint(folder: Path, guardian: bool = True) -> tuple[Any, ...]:
    """Returns everything that must not differ by a bit: the last state, and the losses of every tick.

    guardian: Whether the guardian's memory counts; it has not seen a sheet that could not be drawn.
    """
    verify_state(max((folder / 'state').iterdir()))
    tensors, scalars = last_state(folder)
    return tensors, scalars if guardian else {**scalars, 'guardian': None}, losses(folder)


def train_here(*flags: str) -> None:
    """Runs a command line of train.py in this process; its errors are raised."""
    from ganfoundry.commands import train

    train.main.main([str(flag) for flag in flags], standalone_mode=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns every file of a run folder by its path, without the log and the name of the lock's holder."""
    paths = (path for path in folder.rglob('*') if path.is_file() and path.name not in ('log.txt', '.lock'))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def flip_bit(path: Path, bit: int) -> None:
    """Inverts one bit of a file, counted from its beginning; negative ones from its end."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def truncate(path: Path, size: int) -> None:
    """Keeps the first `size` bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])
