"""Job of a comparison: one training run, its record, and the lock that its processes hold."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dnnlib.errors import ConfigError
from dnnlib.files import write_json
from dnnlib.records import read_record
from dnnlib.time_limit import EXIT_CODE
from ganfoundry.compare.plan import Plan
from ganfoundry.compare.rows import Row
from torch_utils.checkpoint import list_states
from training.run.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
ENDED = ('finished', 'diverged')  # states in which nothing is left to train
STOPPED = (129, 130, 143)  # exit codes after SIGHUP, SIGINT and SIGTERM
MACHINE_FLAGS = ('--plugin=', '--device=', '--detector-path=')  # flags that every launch of a run needs


class Outcome(NamedTuple):
    """A job as its last launch left it. state: 'new', 'running', 'paused', 'interrupted', 'failed' or one of ENDED."""

    state: str
    reason: str = ''


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training run.

    Attributes:
        row: Its row.
        seed: Its training seed.
        kimg: Its length.
        flags: Everything that decides it, as train.py takes it.
        folder: Folder of the run, its record and its messages.
    """

    row: Row
    seed: int
    kimg: int
    flags: tuple[str, ...]
    folder: Path

    @property
    def name(self) -> str:
        """The job in messages."""
        return f'{self.row.label} seed {self.seed}'

    @property
    def record(self) -> Path:
        """The file with {'flags', 'state', 'reason'}."""
        return self.folder / 'job.json'

    @property
    def errors(self) -> Path:
        """The stderr of the last launch."""
        return self.folder / 'errors.txt'

    def run_folder(self) -> RunFolder | None:
        """Returns the run folder, or None before train.py has made it."""
        found = sorted(self.folder.glob('[0-9]*-*/config.json'))
        return RunFolder(found[-1].parent) if found else None

    def outcome(self) -> Outcome:
        """Returns what the last launch left.

        Raises:
            ConfigError: If the folder holds a run of other flags, or a record that cannot be read.
        """
        if not self.record.exists():
            return Outcome('new')
        record = read_record(self.record)
        if record.values.get('flags') == list(self.flags):
            return Outcome(record.text('state'), record.text('reason'))
        if self.run_folder() is None:  # refused before it began: other flags are the cure
            return Outcome('new')
        raise ConfigError(f'--out: {self.folder} was trained with other flags; name another --out, or remove it')

    def write(self, outcome: Outcome) -> None:
        """Records the state of the job."""
        write_json(self.record, {'flags': list(self.flags), **outcome._asdict()})

    def nimg(self) -> int:
        """Returns the number of images of the newest state."""
        folder = self.run_folder()
        return 0 if folder is None else max((int(path.name) for path in list_states(folder.states)), default=0)

    def seconds(self) -> float:
        """Returns the training time so far, in seconds."""
        folder = self.run_folder()
        last = {} if folder is None else folder.last_stats()
        return float(last.get('Timing/total_sec', {'mean': 0.0})['mean'])

    def has_reached(self, pause_nimg: int | None, metric: str | None) -> bool:
        """Whether nothing is left to train and to measure up to a pause.

        Args:
            pause_nimg: Number of images of the pause; None: the end.
            metric: The metric that is measured there.
        """
        if self.outcome().state in ENDED:
            return True
        folder = self.run_folder()
        if pause_nimg is None or metric is None or folder is None or self.nimg() < pause_nimg:
            return False
        return any(line['nimg'] == pause_nimg for line in folder.results(metric))

    def words(self, plan: Plan, pause_nimg: int | None) -> list[str]:
        """Returns the command that trains it.

        Args:
            plan: The plan.
            pause_nimg: Number of images at which it pauses; None: at its end.
        """
        folder = self.run_folder()
        words = [*plan.launcher, sys.executable, str(ROOT / 'train.py')]
        if folder is None:
            words += [f'--outdir={self.folder}', *self.flags]
        else:
            words += [f'--resume={folder.path}', *(flag for flag in self.flags if flag.startswith(MACHINE_FLAGS))]
        if pause_nimg is not None:
            words.append(f'--pause={pause_nimg / 1000:g}')
        if plan.hours is not None:
            words.append(f'--for={max(plan.hours * 3600 - self.seconds(), 1):.0f}s')
        return words

    def shown(self, plan: Plan, pause_nimg: int | None) -> str:
        """Returns the command for people."""
        return shlex.join(self.words(plan, pause_nimg))


@contextlib.contextmanager
def locked(job: Job) -> Iterator[int | None]:
    """Locks the folder of a job.

    The lock belongs to the open file, which the processes of a launch inherit: it is held until all of them have ended,
    also when this process is killed.

    Args:
        job: The job; its folder is made.

    Yields:
        The handle to inherit; None while processes of an earlier launch hold the lock.
    """
    import fcntl

    job.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(job.folder / '.lock', os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:  # a file system without locks
            pass
        yield handle
    finally:
        os.close(handle)


def launch(job: Job, plan: Plan, pause_nimg: int | None, device: int | None) -> subprocess.Popen[bytes] | None:
    """Starts the training of a job.

    It runs in a session of its own: Ctrl-C reaches only this process, which asks its children to stop.

    Args:
        job: The job.
        plan: The plan.
        pause_nimg: Number of images at which it pauses; None: at its end.
        device: Number of its GPU; None: train.py or the launcher chooses.

    Returns:
        The process; None while processes of an earlier launch train the job.

    Raises:
        ConfigError: If the launcher cannot be started.
    """
    with locked(job) as handle:
        if handle is None:
            return None
        words = job.words(plan, pause_nimg)
        job.write(Outcome('running'))
        with job.errors.open('w') as errors:
            try:
                return subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # the run's own log.txt has it
                    stderr=errors,
                    env=environment(plan, device),
                    pass_fds=[handle],
                    start_new_session=True,
                )
            except OSError as error:
                job.write(Outcome('failed', f'{words[0]}: {error.strerror}'))
                raise ConfigError(f'--launcher={shlex.join(plan.launcher)}: {words[0]}: {error.strerror}') from None


def environment(plan: Plan, device: int | None) -> Mapping[str, str]:
    """Returns the environment of a run: its threads and its GPU."""
    threads = str(plan.threads)
    gpu = {} if device is None else {'CUDA_VISIBLE_DEVICES': str(device)}
    return {**os.environ, 'OMP_NUM_THREADS': threads, 'MKL_NUM_THREADS': threads, **gpu}


def judge(job: Job, exit_code: int, plan: Plan, pause_nimg: int | None) -> Outcome:
    """Returns the outcome of a launch that has ended.

    Args:
        job: The job.
        exit_code: The exit code; negative after a signal.
        plan: The plan.
        pause_nimg: Number of images at which it was to pause.
    """
    said = last_words(job.errors)
    if exit_code in STOPPED:
        return Outcome('interrupted', 'asked to stop; the same command continues it')
    if exit_code < 0:
        return Outcome('interrupted', f'killed by signal {-exit_code}; the same command continues it')
    if exit_code == EXIT_CODE and plan.budget == 'hours':
        return Outcome('finished')
    if exit_code == EXIT_CODE:
        return Outcome('interrupted', 'its --for is over; the same command continues it')
    if exit_code > 0:
        return Outcome('diverged' if 'training has diverged' in said else 'failed', said)
    nimg, end = job.nimg(), job.kimg * 1000
    folder = job.run_folder()
    if nimg < end:
        if pause_nimg is not None and nimg >= pause_nimg:
            return Outcome('paused')
        return Outcome('failed', f'it ended at {nimg / 1000:g} of {job.kimg} kimg: {said}')
    if folder is not None and plan.metric and not any(line['nimg'] >= end for line in folder.results(plan.metric)):
        return Outcome('failed', f'trained, but {plan.metric} could not be measured: {folder.path / "log.txt"}')
    return Outcome('finished')


def last_words(errors: Path) -> str:
    """Returns the last line of a launch's stderr, without 'Error: '."""
    lines = errors.read_text(errors='replace').split('\n') if errors.exists() else []
    return next((line.removeprefix('Error: ') for line in reversed(lines) if line.strip()), 'it said nothing')
