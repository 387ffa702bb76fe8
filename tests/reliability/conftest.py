"""Shared by the tests of reliability: one zygote a test process, and runs left in peace that all processes share."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.reliability.supervisor import Run
from tests.support.forks import Zygote, shared_zygote
from tests.support.runs import make_zip

# 11 steps of 96 images in two micro-batches, a tick every two steps, a state at each, a snapshot every second one.
SMALL = (
    '--kimg=1', '--batch=96', '--batch-gpu=48', '--mbstd-group=4', '--tick=0.192', '--snap=2', '--device=cpu',
    '--metrics=none', '--workers=0', '--set=grid_images=4', '--set=save_every_s=0', '--precision=fp32', '--cond=1',
    '--set=r1.interval=4',
)  # fmt: skip
WIDTHS = ('--cbase=96', '--cmax=8', '--map-depth=2', '--set=generator.z_dim=8', '--set=generator.w_dim=8')
# Everything that a run can have on: lazy R1 and path length, ADA that moves fast, style mixing, mixed precision.
EVERYTHING = (
    '--cfg=squeeze', *SMALL, *WIDTHS, '--mirror=1', '--precision=bf16', '--set=pl.weight=2', '--set=pl.interval=4',
    '--set=style_mixing_prob=0.9', '--set=aug.kind=ada', '--set=aug.kimg=1', '--set=aug.p=0.2',
)  # fmt: skip


@pytest.fixture(scope='session')
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all test processes of this session have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == 'master' else base.parent) / 'reliability'
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope='session')
def zygote() -> Zygote:
    """The process from which launches are forked."""
    return shared_zygote()


@pytest.fixture(scope='session')
def data(shared: Path) -> Path:
    """A labelled data set of 16x16."""
    return once(shared / 'tiny16.zip', lambda path: make_zip(path))


@pytest.fixture(scope='session')
def data32(shared: Path) -> Path:
    """The same at 32x32, for architectures that begin there."""
    return once(shared / 'tiny32.zip', lambda path: make_zip(path, resolution=32))


@pytest.fixture(scope='session')
def in_peace(shared: Path, zygote: Zygote) -> Callable[[str, Sequence[str]], Path]:
    """Makes the folder of a run that nothing happens to, by a name; once for all test processes."""

    def make(name: str, flags: Sequence[str]) -> Path:
        return once(shared / name, lambda where: Run(zygote, where, flags).finish()) / 'runs'

    def folder(name: str, flags: Sequence[str]) -> Path:
        (run,) = make(name, flags).glob('0*')
        return run

    return folder


@pytest.fixture(scope='session')
def undisturbed(in_peace: Callable[[str, Sequence[str]], Path], data: Path) -> Path:
    """The run of EVERYTHING."""
    return in_peace('everything', (f'--data={data}', *EVERYTHING))


@pytest.fixture(scope='session')
def undisturbed_by_two(in_peace: Callable[[str, Sequence[str]], Path], data: Path) -> Path:
    """The run of EVERYTHING in the order of sums that does not depend on the number of processes; made by one."""
    return in_peace('deterministic', (f'--data={data}', *EVERYTHING, '--deterministic=1'))


@pytest.fixture
def run(zygote: Zygote, tmp_path: Path, data: Path) -> Callable[..., Run]:
    """Makes a run of EVERYTHING and further flags, with a plan."""

    def make(*flags: str, plan: Sequence[tuple] = ()) -> Run:
        return Run(zygote, tmp_path / 'run', (f'--data={data}', *EVERYTHING, *flags), plan)

    return make


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """Returns `path`, which the first process that asks makes while the others wait."""
    done = path.with_name(f'{path.name}.done')
    with path.with_name(f'{path.name}.lock').open('w') as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not done.exists():
            make(path)
            done.touch()
    return path
