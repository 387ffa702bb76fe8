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
from ganfoundry.loggers.position import Position, file_stem, read_position, write_position

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
    wait_s = 0.0 if watch is None else child.LIMIT_S + child.SPARE_S  # the process of the launch before may still send
    with StopSignal() as stop, contextlib.closing(HeldFolder(path.resolve())) as folder:
        sender = Sender(folder, options, watch)
        with _alone(folder.path, options.to, wait_s):
            try:
                send_run(sender, record, options.follow, stop)
            except OSError as error:
                raise ConfigError(f'{error.filename or folder.path}: {error.strerror or error}') from None
    if watch is None:
        print(sender.summary())
    return stop.exit_code


def send_run(sender: Sender, record: Record, follow: bool, stop: StopSignal) -> None:
    """Sends a run until there is nothing new, or until nothing more can come.

    Args:
        sender: Sends what is new.
        record: Content of config.json.
        follow: Whether to wait for more.
        stop: Requests to end before.

    Raises:
        OSError: If a file cannot be read or written.
        UserError: If the position or a record is damaged, or if a call of the logger fails.
    """
    sender.read_position()
    if follow and sender.watch is None:
        print(f'sending {sender.folder} to {sender.name} while it trains; Ctrl-C ends it', flush=True)
    while follow and not stop.requested() and _goes_on(record, sender):
        sender.send_new(stop.requested)
        time.sleep(POLL_S)
    if not stop.requested():
        sender.send_new(stop.requested)
    ended = sender.watch.state if sender.watch else None
    sender.finish(ended or ('finished' if _is_complete(record, sender) else 'stopped'))


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

    Raises:
        ConfigError: If the logger cannot be made.
    """

    def __init__(self, folder: HeldFolder, options: LogOptions, watch: Child | None) -> None:
        self.name, self.watch = options.to, watch
        self._folder, self._mode = folder, options.mode
        self._position = Position()
        self._logger = self._made()
        self._started = False
        self._counts = {'line': 0, 'sheet': 0}

    @property
    def folder(self) -> Path:
        """The run folder, where it is now."""
        return self._folder.path

    @property
    def nimg(self) -> int:
        """Number of images of the newest line that was sent; -1 if there is none."""
        return self._position.place(STATS).nimg

    @property
    def _file(self) -> Path:
        return self.folder / f'{file_stem(self.name)}.json'

    def read_position(self) -> None:
        """Reads what was sent before. Raises ConfigError if the file is damaged."""
        self._position = read_position(self._file)

    def summary(self) -> str:
        """Returns a sentence about what was sent."""
        sent = ' and '.join(counted(number, noun) for noun, number in self._counts.items())
        if not any(self._counts.values()):
            again = f'remove {self._file.name} there to send the whole run again'
            return f'nothing new in {self.folder}: everything was sent to {self.name} before; {again}'
        return f'{sent} of {self.folder} sent to {self.name}, up to {max(self.nimg, 0) / 1000:.1f} kimg'

    def send_new(self, stopped: Callable[[], bool]) -> None:
        """Sends everything that is new; leaves early if `stopped`. Raises LoggerError."""
        after = after_rewinds(self.folder, self._position)
        if after.segment != self._position.segment and self._started:
            self._call(lambda logger: logger.finish('rewound'))
            self._logger, self._started = self._made(), False
        if after != self._position:
            self._keep(after)
        for event, position in events(self.folder, self._position):
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
        if not self._started and (self._position.state or not self._position.lines):
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

    def _made(self) -> Logger:
        with self._limited():
            return make_logger(self.name, OPTION)

    def _start(self) -> None:
        """Starts the logger before its first call."""
        if self._started:
            return
        folder, segment = self.folder, self._position.segment
        record = config_of(folder).values
        group = str(record.get('run_id') or folder.name)
        about = {
            'folder': str(folder),
            'name': folder.name if segment == 1 else f'{folder.name} ({segment})',
            'id': group if segment == 1 else f'{group}-{segment}',
            'group': group,
            'segment': segment,
            'mode': self._mode,
        }
        self._call(lambda logger: logger.start({**record, 'log': about}))
        self._started = True

    def _call(self, call: Callable[[Logger], Any]) -> None:
        try:
            with self._limited():
                call(self._logger)
        except (Exception, SystemExit) as error:
            if self.name not in BUILTIN:
                traceback.print_exc(file=sys.stderr)  # the user's own code needs it
            reason = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip('.')
            raise LoggerError(
                f'{OPTION}={self.name}: {reason}; the same command sends the rest of {self.folder}'
            ) from None

    def _limited(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.watch is None else self.watch.limited()

    def _keep(self, position: Position) -> None:
        write_position(self._file, position)
        self._position = position


def _is_complete(record: Record, sender: Sender) -> bool:
    """Whether the last line of the run that its config asks for was sent."""
    try:
        return sender.nimg >= record.record('config').whole('kimg') * 1000
    except RecordError:
        return False


def _goes_on(record: Record, sender: Sender) -> bool:
    """Whether more may come: the run trains, or is not complete and may be continued."""
    if sender.watch is not None:
        return sender.watch.state is None
    return not _is_complete(record, sender) or _is_trained(sender.folder)


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
    with contextlib.ExitStack() as stack:
        while not _held(path, stack):
            if time.monotonic() > until:
                raise ConfigError(f'{folder}: another process sends this run to {name}; end it, or let it do its work')
            time.sleep(POLL_S)
        yield


def _held(path: Path, stack: contextlib.ExitStack) -> bool:
    """Holds a lock file on a stack. Returns False if another process holds it. Raises ConfigError."""
    try:
        held = stack.enter_context(locked(path))
    except OSError as error:
        raise ConfigError(
            f'{path.parent}: cannot be written to ({error.strerror}), so the position could not be kept; send a copy '
            f'of the folder'
        ) from None
    if not held:
        stack.close()
    return held
