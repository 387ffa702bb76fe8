"""The command `log_run.py`: sends what is new in a run folder to a logger, once or while the run trains."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from dnnlib.errors import ConfigError, RecordError, UserError
from dnnlib.folders import HeldFolder, locked
from dnnlib.log import counted
from dnnlib.records import Record, read_record
from dnnlib.signals import StopSignal
from ganfoundry.loggers import child
from ganfoundry.loggers.child import Child, is_child
from ganfoundry.loggers.follower import STATS, Event, Scalars, after_rewinds, events
from ganfoundry.loggers.logger import BUILTIN, Logger, check_logger, make_logger
from ganfoundry.loggers.position import file_stem, read_position, write_position

POLL_S = 1.0
OPTION = '--to'


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """The options of log_run.py under their names in Python; `ganfoundry/commands/log_run.py` describes each."""

    run: str
    to: str
    follow: bool = False
    mode: str | None = None


class LoggerError(UserError):
    """A call of a logger that has failed."""


def run_log(options: LogOptions) -> int:
    """Carries out a command line of log_run.py. Returns the exit code; raises UserError."""
    watch = Child(options.to) if options.follow and is_child() else None
    path = Path(options.run)
    if path.name == 'latest':
        from training.run.open_network import with_latest  # it imports torch, which takes seconds

        path = Path(with_latest(path))
    record = config_of(path)
    check_logger(options.to, OPTION)
    folder = HeldFolder(path.resolve())
    wait_s = child.LIMIT_S if watch is not None else 0.0  # the process of the launch before may still send
    with StopSignal() as stop, contextlib.closing(folder), _alone(folder.path, options.to, wait_s):
        sender = Sender(folder, options, watch)
        try:
            if options.follow:
                while not stop.requested() and _goes_on(folder.path, record, sender, watch):
                    sender.send_new(stop.requested)
                    time.sleep(POLL_S)
            if not stop.requested():
                sender.send_new(stop.requested)
            sender.finish(watch.state if watch and watch.state else _state(record, sender))
        except OSError as error:
            raise ConfigError(f'{error.filename or folder.path}: {error.strerror or error}') from None
    if watch is None:
        print(sender.summary())
    return stop.exit_code


def config_of(folder: Path) -> Record:
    """Returns config.json of a run folder. Raises ConfigError if it is no run folder."""
    if not folder.is_dir() or not (folder / 'config.json').exists():
        raise ConfigError(f'{folder}: is no run folder; name one that train.py has made, or latest')
    return read_record(folder / 'config.json')


class Sender:
    """Sends what is new to a logger, in the order of images, and keeps the position.

    The position is written before each call of the logger, so that nothing is sent twice if this process is killed, and
    set back if the call fails.

    Args:
        folder: The run folder.
        options: The command line.
        watch: Limits the time of calls; None: calls may take any time.
    """

    def __init__(self, folder: HeldFolder, options: LogOptions, watch: Child | None) -> None:
        self._folder, self._options, self._watch = folder, options, watch
        self._name = file_stem(options.to)
        self._position = read_position(self._file)
        self._logger: Logger | None = None
        self._counts = {'line': 0, 'sheet': 0}

    @property
    def nimg(self) -> int:
        """Number of images of the newest line that was sent; -1 if there is none."""
        return self._position.place(STATS).nimg

    @property
    def _file(self) -> Path:
        return self._folder.path / f'{self._name}.json'

    def summary(self) -> str:
        """Returns a sentence about what was sent."""
        sent = ' and '.join(counted(number, noun) for noun, number in self._counts.items())
        if not any(self._counts.values()):
            return f'nothing new in {self._folder.path}: everything was sent to {self._options.to} before'
        return f'{sent} of {self._folder.path} sent to {self._options.to}, up to {max(self.nimg, 0) / 1000:.1f} kimg'

    def send_new(self, stopped: Callable[[], bool]) -> None:
        """Sends everything that is new; leaves early if `stopped`. Raises LoggerError."""
        after = after_rewinds(self._folder.path, self._position)
        if after.segment != self._position.segment and self._logger is not None:
            self._call(lambda logger: logger.finish('rewound'))
            self._logger = None
        if after != self._position:
            self._keep(after)
        for event, position in events(self._folder.path, self._position):
            if stopped():
                return
            before = self._position
            if event is None:
                self._keep(position)
                continue
            self._start()
            self._keep(replace(position, state=''))
            try:
                self._send(event)
            except LoggerError:
                self._keep(before)
                raise

    def finish(self, state: str) -> None:
        """Ends the logger, also one of an earlier process that was killed. Raises LoggerError."""
        if self._logger is None and (self._position.state or not self._position.lines):
            return
        self._start()
        self._call(lambda logger: logger.finish(state))
        self._keep(replace(self._position, state=state))

    def _send(self, event: Event) -> None:
        if isinstance(event, Scalars):
            self._call(lambda logger: logger.scalars(event.values, event.nimg))
            self._counts['line'] += 1
        else:
            self._call(lambda logger: logger.image(event.name, event.path, event.nimg))
            self._counts['sheet'] += 1

    def _start(self) -> None:
        """Makes the logger before its first call."""
        if self._logger is not None:
            return
        with self._limited():
            self._logger = make_logger(self._options.to, OPTION)
        folder, segment = self._folder.path, self._position.segment
        record = config_of(folder).values
        group = str(record.get('run_id') or folder.name)
        about = {
            'folder': str(folder),
            'name': folder.name if segment == 1 else f'{folder.name} ({segment})',
            'id': group if segment == 1 else f'{group}-{segment}',
            'group': group,
            'segment': segment,
            'mode': self._options.mode,
        }
        self._call(lambda logger: logger.start({**record, 'log': about}))

    def _call(self, call: Callable[[Logger], Any]) -> None:
        assert self._logger is not None
        try:
            with self._limited():
                call(self._logger)
        except (Exception, SystemExit) as error:
            if self._options.to not in BUILTIN:
                traceback.print_exc(file=sys.stderr)  # of the user's own code
            reason = ' '.join(traceback.format_exception_only(error)[-1].split())
            raise LoggerError(
                f'{OPTION}={self._options.to}: {reason}; the same command sends the rest of {self._folder.path}'
            ) from None

    def _limited(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._watch is None else self._watch.limited()

    def _keep(self, position: Any) -> None:
        write_position(self._file, position)
        self._position = position


def _state(record: Record, sender: Sender) -> str:
    return 'finished' if _is_complete(record, sender) else 'stopped'


def _is_complete(record: Record, sender: Sender) -> bool:
    """Whether the last line of the run that its config asks for was sent."""
    try:
        return sender.nimg >= record.record('config').whole('kimg') * 1000
    except RecordError:
        return False


def _goes_on(folder: Path, record: Record, sender: Sender, watch: Child | None) -> bool:
    """Whether more may come: the run trains, or is not complete and may be continued."""
    if watch is not None:
        return watch.state is None
    return not _is_complete(record, sender) or _is_trained(folder)


def _is_trained(folder: Path) -> bool:
    """Whether the process that the run's .lock names may still train; one on another machine counts as running."""
    try:
        found = re.fullmatch(r'pid (\d+) on (.*)', (folder / '.lock').read_text(errors='replace').strip())
    except OSError:
        return False
    return found is not None and (found[2] != socket.gethostname() or psutil.pid_exists(int(found[1])))


@contextlib.contextmanager
def _alone(folder: Path, name: str, wait_s: float) -> Iterator[None]:
    """Holds the lock of a logger in a run folder.

    Args:
        folder: The run folder.
        name: Name of the logger.
        wait_s: Longest wait for another process, in seconds.

    Raises:
        ConfigError: If another process holds it, or if the folder cannot be written.
    """
    path = folder / f'.{file_stem(name)}.lock'
    until = time.monotonic() + wait_s
    try:
        with contextlib.ExitStack() as stack:
            while not stack.enter_context(locked(path)):
                if time.monotonic() > until:
                    raise ConfigError(
                        f'{folder}: another process sends this run to {name}; end it, or let it do its work'
                    )
                time.sleep(POLL_S)
            yield
    except OSError as error:
        raise ConfigError(
            f'{folder}: cannot be written to ({error.strerror}), so the position could not be kept; send a copy of it'
        ) from None
