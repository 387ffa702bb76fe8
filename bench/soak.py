"""A training run that is struck every 20 to 40 seconds, and afterwards the same run left in peace: are the bits equal?

    python bench/soak.py --minutes=30 --processes=2

Faults, in shuffled rounds: a rank is killed; a decoding worker is killed; SIGTERM; a bit of the newest state is flipped
and all are killed; the disk is full for some seconds; an image of the data is cut short, and repaired once the run has
named it. Whenever the run ends it is started again by the same command line. When the time is over it trains to the
next whole kimg. Then the same command line runs undisturbed, or has run beside it (--kimg), and the last states and the
losses of all ticks are compared. Where they differ, the first tick that does, and the fault before it, are named.

Writes soak.md and soak.log into --out. Exit code: 0 when the bits are equal, 1 when they are not.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from bench.soak_report import KINDS, report
from dnnlib.command import run_command
from dnnlib.files import read_jsonl, write_bytes
from tests.support.forks import environment
from tests.support.runs import command, last_state, losses, make_zip, only_run
from torch_utils.checkpoint import TENSORS, list_states

FLAGS = (
    '--cfg=squeeze', '--batch=16', '--batch-gpu=8', '--mbstd-group=4', '--tick=0.16', '--snap=20', '--device=cpu',
    '--metrics=none', '--workers=1', '--cond=1', '--mirror=1', '--precision=bf16', '--cbase=192', '--cmax=16',
    '--map-depth=2', '--set=generator.z_dim=16', '--set=generator.w_dim=16', '--set=grid_images=16',
    '--set=save_every_s=3', '--set=r1.interval=4', '--set=pl.weight=2', '--set=style_mixing_prob=0.9',
    '--set=aug.kind=ada', '--set=aug.kimg=20',
)  # fmt: skip
FOREVER = 1_000_000  # kimg
FULL_S = 8.0  # how long the disk is full
PATIENCE_S = 240.0  # seconds without a new tick after which the run counts as hung


@dataclass(kw_only=True)
class Soak:
    """The run, its present sitting, and what has happened to it."""

    where: Path
    processes: int
    draw: random.Random
    lines: list[str] = field(default_factory=list)
    struck: list[tuple[str, int, int]] = field(default_factory=list)  # fault, images recorded before and after it
    recovery_s: dict[str, list[float]] = field(default_factory=dict)  # seconds from a fault to the next tick
    unexpected: list[str] = field(default_factory=list)
    kimg: int | None = None  # where both runs end, side by side; None: where the time is over, one after the other
    sitting: subprocess.Popen | None = None
    peace: subprocess.Popen | None = None
    sittings: int = 0
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Writes a line of the log with the seconds since the start."""
        self.lines.append(f'{time.monotonic() - self.began:7.1f} s  {text}')
        print(self.lines[-1], flush=True)

    # ---- the run

    def data(self, name: str) -> Path:
        """Makes the image folder of a run; each run has its own, since one run's images get damaged."""
        return self.where / 'images' / name / 'data'

    @property
    def folder(self) -> Path:
        """The run folder."""
        return only_run(self.where / 'struck')

    def flags(self, name: str, kimg: int) -> list[str]:
        """Returns the command line of a run; both runs differ only in the folder of images."""
        several = [f'--gpus={self.processes}'] if self.processes > 1 else []
        return [f'--data={self.data(name)}', f'--kimg={kimg}', *FLAGS, *several]

    def start(self) -> None:
        """Starts a launch that continues the run."""
        known = list((self.where / 'struck').glob('0*'))
        resume = [f'--resume={known[0]}'] if known else []
        self.sittings += 1
        with (self.where / f'output{self.sittings}.txt').open('w') as output:
            flags = self.flags('struck', self.kimg or FOREVER)
            self.sitting = subprocess.Popen(command(self.where / 'struck', *flags, *resume),
                                            env=environment(), stdout=output, stderr=subprocess.STDOUT,
                                            start_new_session=True)  # fmt: skip

    def said(self) -> str:
        """Returns the output of the current launch."""
        return (self.where / f'output{self.sittings}.txt').read_text()

    def nimg(self) -> int:
        """Images shown at the last recorded tick."""
        files = list((self.where / 'struck').glob('0*/stats.jsonl'))
        records = read_jsonl(files[0]) if files else []
        return records[-1]['nimg'] if records else 0

    def ranks(self) -> list[psutil.Process]:
        """Returns the training processes: the launch itself, or the processes started by its launcher."""
        assert self.sitting is not None
        root = psutil.Process(self.sitting.pid)
        if self.processes == 1:
            return [root]
        return [p for p in root.children() if 'RANK' in p.environ()]

    def everyone(self) -> list[psutil.Process]:
        """Returns all processes of the launch."""
        assert self.sitting is not None
        root = psutil.Process(self.sitting.pid)
        return [root, *root.children(recursive=True)]

    def kill_all(self) -> None:
        """Kills every process of the launch, including workers."""
        for process in self.everyone():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    # ---- faults: each says what it has done

    def kill_a_rank(self) -> str:
        rank = self.draw.choice(self.ranks())
        number = rank.environ().get('RANK', '0')
        rank.kill()
        return f'SIGKILL to rank {number}'

    def kill_a_worker(self) -> str:
        worker = self.draw.choice([child for rank in self.ranks() for child in rank.children()])
        rank = worker.environ().get('RANK', '0')
        worker.kill()
        return f'SIGKILL to the worker of rank {rank}'

    def terminate(self) -> str:
        assert self.sitting is not None
        self.sitting.terminate()
        return 'SIGTERM'

    def flip_a_bit(self) -> str:
        self.kill_all()
        state = list_states(self.folder / 'state')[-1]
        path = state / TENSORS
        data = bytearray(path.read_bytes())
        bit = self.draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        return f'bit {bit} of {state.name}/{TENSORS} flipped, all killed'

    def fill_the_disk(self) -> str:
        """Limits files to 20 kB for a while, which looks like a full disk to a writer."""
        everyone, free = self.everyone(), resource.RLIM_INFINITY
        for limit in (20_000, free):
            for process in everyone:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, free))
            if limit != free:
                time.sleep(FULL_S)
        return f'disk full for {FULL_S:g} s, "not saved" {self.said().count("not saved")} times'

    def corrupt_an_image(self) -> str:
        path = self.draw.choice(sorted(self.data('struck').rglob('*.png')))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        named = self.wait(lambda: path.name in self.said())
        write_bytes(path, whole)
        if not (named and self.wait(self.ended)):
            self.unexpected.append(f'{path.name} was cut short, and the run did not end with its name')
        return f'{path.name} cut short, {"named" if named else "NOT NAMED"}, mended'

    # ---- the course of it

    def wait(self, seen: Callable[[], bool]) -> bool:
        """Waits until `seen`; returns False after a timeout."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def ended(self) -> bool:
        return self.sitting is None or self.sitting.poll() is not None

    def keep_going(self) -> None:
        """Starts the run again if it has ended before its time, with a line about how."""
        if self.ended() and not self.complete():
            assert self.sitting is not None
            said = self.said().strip().splitlines()
            self.say(f'  ended with exit code {self.sitting.returncode}: {self.clean(said[-1]) if said else ""}')
            self.start()

    def complete(self) -> bool:
        """Whether there is nothing left to train."""
        return self.sitting is not None and self.sitting.poll() == 0

    def rest(self, pause_s: float) -> None:
        """Waits for a number of seconds, and then until the current launch trains."""
        deadline = time.monotonic() + pause_s

        def rested() -> bool:
            self.keep_going()
            return self.complete() or (time.monotonic() > deadline and self.trains())

        if not self.wait(rested):
            self.unexpected.append(f'no tick for {PATIENCE_S:g} s, at {self.nimg()} images')
            self.kill_all()

    def trains(self) -> bool:
        """Whether the present sitting has recorded a tick."""
        return not self.ended() and self.said().count('\ntick ') >= 1

    def clean(self, text: str) -> str:
        """Returns a text without paths of this machine."""
        return text.replace(str(self.where), '.')

    def strike(self, fault: str) -> None:
        """Causes one fault and waits for the next tick."""
        nimg, began = self.nimg(), time.monotonic()
        told = getattr(self, fault)()
        self.say(f'{fault.replace("_", " ")} at {nimg} images: {told}')

        def trains_again() -> bool:
            self.keep_going()
            return self.complete() or (self.nimg() > nimg and self.trains())

        time.sleep(1)
        if self.wait(trains_again):
            self.recovery_s.setdefault(fault, []).append(time.monotonic() - began)
        else:
            self.unexpected.append(f'no tick for {PATIENCE_S:g} s after {fault} at {nimg} images')
            self.say(f'  {self.unexpected[-1]}; all killed')
            self.kill_all()
        self.struck.append((fault, nimg, self.nimg()))

    def run(self, minutes: float) -> None:
        """Faults until the time is over, then SIGTERM."""
        if self.kimg is not None:
            flags = self.flags('peace', self.kimg)
            self.peace = subprocess.Popen(command(self.where / 'peace', *flags), env=environment(),
                                          stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        self.start()
        self.wait(lambda: self.nimg() > 0 or self.ended())
        for fault in self.faults():
            pause = self.draw.uniform(20, 40)
            if time.monotonic() - self.began + pause > minutes * 60:
                break
            self.rest(pause)
            if self.complete():
                break
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended at this very moment
                self.strike(fault)
        if not self.ended():
            self.terminate()
        self.wait(self.ended)

    def faults(self) -> Iterator[str]:
        """Yields all kinds in every round, each round in its own order."""
        while True:
            yield from self.draw.sample(KINDS, len(KINDS))

    def finish(self) -> int:
        """Trains both runs to their end, which is the next whole kimg where none was given. Returns the kimg."""
        seen = max(self.nimg(), int(list_states(self.folder / 'state')[-1].name))
        kimg = self.kimg or seen // 1000 + 1
        self.say(f'time is over at {seen} images; both go on to {kimg} kimg')
        self.train('struck', kimg, f'--resume={self.folder}')
        if self.peace is None:
            self.train('peace', kimg)
        elif self.peace.wait() != 0:
            raise RuntimeError(f'the run left in peace ended with exit code {self.peace.returncode}')
        return kimg

    def train(self, name: str, kimg: int, *flags: str) -> None:
        """Runs a launch to its end without faults."""
        subprocess.run(command(self.where / name, *self.flags(name, kimg), *flags), env=environment(), check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def verdict(self) -> tuple[bool, str]:
        """Whether the runs are equal; if not, what differs, from which tick on, and which fault was before it.

        A line of statistics that a full disk has swallowed is a documented loss (docs/reliability.md), and told.
        """
        peace = only_run(self.where / 'peace')
        weights = last_state(peace) == last_state(self.folder)
        said = 'All tensors and scalars of the last state are equal' if weights else 'The LAST STATES DIFFER'
        struck = {line['nimg']: line for line in losses(self.folder)}
        expected = losses(peace)
        differs = [line['nimg'] for line in expected if struck.get(line['nimg'], line) != line]
        lost = [line['nimg'] for line in expected if line['nimg'] not in struck]
        full = [(begin, end) for fault, begin, end in self.struck if fault == 'fill_the_disk']
        unexplained = [nimg for nimg in lost if not any(begin < nimg < end for begin, end in full)]
        words = [f'{said}, and the losses of {len(expected) - len(lost) - len(differs)} ticks of {len(expected)}.']
        if differs:
            words.append(f'Losses DIFFER at {len(differs)} ticks, {self.told(differs[0])}.')
        if lost:
            words.append(f'{len(lost)} lines of statistics were lost, all but {len(unexplained)} to full disks.')
        words += [f'Lost without that: {self.told(nimg)}.' for nimg in unexplained]
        return weights and not differs and not unexplained, ' '.join(words)

    def told(self, nimg: int) -> str:
        """Records a tick and the last fault before it."""
        fault, at = [('the start', 0), *((fault, at) for fault, at, _ in self.struck if at <= nimg)][-1]
        return f'at {nimg} images, after {fault} at {at}'


@click.command()
@click.option('--minutes', default=30.0, show_default=True)
@click.option('--processes', default=2, show_default=True, help='Ranks.')
@click.option('--seed', default=0, show_default=True, help='Of the faults.')
@click.option('--kimg', type=int, help='Both runs end here, and train side by side.  [default: one after the other]')
@click.option('--out', default=Path(__file__).parent / 'results', type=Path, help='Folder of soak.md and soak.log.')
def main(minutes: float, processes: int, seed: int, kimg: int | None, out: Path) -> None:
    """Soaks a run in faults and compares it with one left in peace."""
    with tempfile.TemporaryDirectory() as where:
        soak = Soak(where=Path(where), processes=processes, draw=random.Random(seed), kimg=kimg)
        with zipfile.ZipFile(make_zip(soak.where / 'tiny.zip', num_images=64)) as archive:
            for name in ('struck', 'peace'):
                archive.extractall(soak.data(name))
        try:
            soak.run(minutes)
            reached = soak.finish()
        finally:
            if not soak.ended():
                soak.kill_all()
            if soak.peace is not None:
                soak.peace.terminate()
        equal, verdict = soak.verdict()
        soak.say(verdict)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'soak.log').write_text(re.sub(r' +\n', '\n', '\n'.join(soak.lines) + '\n'))
    (out / 'soak.md').write_text(report(soak, minutes, reached, equal, verdict))
    sys.exit(0 if equal and not soak.unexpected else 1)


if __name__ == '__main__':
    run_command(main)
