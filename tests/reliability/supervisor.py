"""Runs of train.py, or of a function, that are watched, struck and started again; and how files are damaged.

A run may take many sittings (processes). It has come through when its last state and its losses are those of the same
run left in peace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.conftest import ROOT
from tests.support.runs import environment, last_state, losses, only_run
from torch_utils.checkpoint import list_states, verify_state

MOMENTS = ROOT / 'tests' / 'reliability' / 'moments.py'
PATIENCE_S = 240  # no sitting of a test takes longer, on a machine that is busy with others


class Zygote:
    """The process that has imported everything, from which sittings are forked."""

    def __init__(self) -> None:
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
        self._process = subprocess.Popen([sys.executable, '-m', 'tests.reliability.zygote'], cwd=ROOT,
                                         env=environment(), start_new_session=True, **pipes)  # fmt: skip
        assert self._answer() == 'ready'

    def start(self, call: str, *args: Any, output: Path, env: dict[str, str] | None = None) -> Sitting:
        """A process that calls 'module:function' with `args`, which JSON must hold; its output goes to a file."""
        request = {'call': call, 'args': args, 'output': str(output), 'env': env or {}}
        return Sitting(self, self.ask(request), output)

    def ask(self, request: dict[str, Any]) -> Any:
        """One request, one answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + '\n')
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()  # the kernel then kills what it has forked
        self._process.communicate()


class Sitting:
    """One process, the leader of a process group of its own."""

    def __init__(self, zygote: Zygote, pid: int, output: Path) -> None:
        self.pid, self.code, self._zygote, self._output = pid, None, zygote, output

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.code is None:
            self.code = self._zygote.ask({'pid': self.pid})
        return self.code

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended; TimeoutError with its last words when it does not."""
        self.watch(lambda: False, patience_s)
        assert self.code is not None
        return self.code

    def watch(self, seen: Callable[[], object], patience_s: float = PATIENCE_S) -> bool:
        """Waits until `seen` or the end of the process. Returns whether it still runs."""
        deadline = time.monotonic() + patience_s
        while not seen():
            if self.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.kill(signal.SIGKILL, group=True)
                raise TimeoutError(f'nothing after {patience_s} s; its last words:\n{self.said()[-2000:]}')
            time.sleep(0.01)
        return self.poll() is None

    def kill(self, number: int, *, group: bool = False) -> None:
        """Sends a signal to the process or to its group, as a terminal and a batch system do."""
        (os.killpg if group else os.kill)(self.pid, number)

    def workers(self) -> list[psutil.Process]:
        """Its children."""
        return psutil.Process(self.pid).children(recursive=True)

    def said(self) -> str:
        """What it has written to stdout and stderr."""
        return self._output.read_text() if self._output.exists() else ''


class Run:
    """A training run over as many sittings as it takes.

    where: a folder for it, its plan and its output. flags: of train.py. plan: see moments.py.
    """

    def __init__(self, zygote: Zygote, where: Path, flags: Sequence[str], plan: Sequence[tuple] = ()) -> None:
        self.zygote, self.where, self.outdir = zygote, where, where / 'runs'
        self.flags = [f'--outdir={self.outdir}', *flags]
        self.plan, self.sittings = where / 'plan.json', list[Sitting]()
        where.mkdir(parents=True, exist_ok=True)
        self.strike(*plan)

    def strike(self, *plan: tuple) -> None:
        """What the next sittings meet with."""
        self.plan.write_text(json.dumps(plan))

    def sit(self, *flags: str) -> Sitting:
        """Starts a sitting, which continues the run if there is one."""
        output = self.where / f'output{len(self.sittings)}.txt'
        resume = () if any(flag.startswith('--resume') for flag in flags) else ('--resume=auto',)
        every = [*self.flags, *flags, *resume, f'--plugin={MOMENTS}']
        call = 'tests.reliability.supervisor:train'
        self.sittings.append(self.zygote.start(call, *every, output=output, env={'RELIABILITY_PLAN': str(self.plan)}))
        return self.sittings[-1]

    def finish(self) -> list[int]:
        """Sits until the run is complete. Returns the exit codes; a failure that was not planned is an error."""
        codes: list[int] = []
        while not codes or codes[-1] != 0:
            sitting = self.sit()
            codes.append(sitting.wait())
            assert codes[-1] in (0, -signal.SIGKILL, 143, 130), f'exit code {codes[-1]}:\n{sitting.said()}'
            assert len(codes) < 30, 'the run does not get on'
        return codes

    @property
    def folder(self) -> Path:
        """The run folder; an error when there are several."""
        return only_run(self.outdir)

    def reached(self) -> list[dict[str, Any]]:
        """When and where it was struck."""
        path = self.where / 'reached.jsonl'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def all_struck(self) -> bool:
        """Whether the whole plan was carried out."""
        return json.loads(self.plan.read_text()) == []

    def num_lines(self) -> int:
        """Ticks recorded so far."""
        files = list(self.outdir.glob('0*/stats.jsonl'))
        return len(files[0].read_text().splitlines()) if files else 0

    def num_states(self) -> int:
        """Training states on disk."""
        return sum(len(list_states(folder / 'state')) for folder in self.outdir.glob('0*'))


def train(*flags: str) -> None:
    """What `python train.py FLAGS` does; for a forked process."""
    import torch

    from dnnlib.errors import run_command
    from ganfoundry.commands import train as script

    torch.set_num_threads(1)
    sys.argv = ['train.py', *flags]
    run_command(script.main)


def fingerprint(folder: Path, guardian: bool = True) -> tuple[Any, ...]:
    """What must not differ by a bit: all tensors and scalars of the last state, and the losses of every tick.

    guardian: whether what it remembers counts; where a sheet could not be drawn, it has not seen that one.
    """
    verify_state(max((folder / 'state').iterdir()))
    tensors, scalars = last_state(folder)
    return tensors, scalars if guardian else {**scalars, 'guardian': None}, losses(folder)


def flip_bit(path: Path, bit: int) -> None:
    """Inverts one bit of a file, counted from its beginning; negative ones from its end."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def truncate(path: Path, size: int) -> None:
    """Keeps the first `size` bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])
