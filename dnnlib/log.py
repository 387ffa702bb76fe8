"""Output of a run: to the terminal, and to log.txt as plain lines."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from dnnlib.addresses import public_text
from dnnlib.printable import printable


class Log:
    """Writer of lines to stdout and a file, and of a progress bar to stderr if that is a terminal.

    A failing write (a full disk, a closed pipe) never stops the run: a lost log line is not a lost model.
    """

    def __init__(self, path: Path | None = None, *, stream: TextIO | None = None, rank: int = 0) -> None:
        """Opens the log.

        Args:
            path: File to append to; None: no file.
            stream: Stream to write to; None: stdout.
            rank: Rank of the process. Rank 0 writes everything, the other processes write warnings only.
        """
        self._rank = rank
        self._stream = stream or sys.stdout
        self._bar_shown = False
        self._file: TextIO | None = None
        try:
            self._file = path.open('a', encoding='utf-8', errors='backslashreplace') if path else None
        except OSError as error:
            self.warn(f'{path}: cannot be opened ({error.strerror}); its lines appear on the screen only')

    def line(self, text: str = '') -> None:
        """Writes one line, or several if the text has line breaks."""
        if self._rank == 0:
            self._write(text)

    def warn(self, text: str) -> None:
        """Writes a line that begins with WARNING."""
        self._write(f'WARNING: {text}' if self._rank == 0 else f'WARNING (rank {self._rank}): {text}')

    def _write(self, text: str) -> None:
        self.clear_bar()
        for target in (self._stream, self._file):
            _write(target, text)

    def detail(self, text: str) -> None:
        """Writes a line to the file only."""
        if self._rank == 0:
            _write(self._file, text)

    @property
    def has_bar(self) -> bool:
        """Whether the progress bar is drawn: by rank 0, if stderr is a terminal."""
        return self._rank == 0 and sys.stderr is not None and sys.stderr.isatty()

    def bar(self, text: str) -> None:
        """Redraws the progress bar if stderr is a terminal."""
        if self.has_bar:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f'\r\x1b[K{shown(text)}')
                sys.stderr.flush()
            self._bar_shown = True

    def clear_bar(self) -> None:
        """Wipes the bar so that a line can take its place."""
        if self._bar_shown:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write('\r\x1b[K')
                sys.stderr.flush()
            self._bar_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the terminal stays open."""
        self.clear_bar()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


def _write(target: TextIO | None, text: str) -> None:
    if target is not None:
        with contextlib.suppress(OSError, ValueError):
            target.write(encodable(shown(text), target) + '\n')
            target.flush()


def shown(text: str) -> str:
    """Returns a text for people: addresses without secrets, control characters of names escaped, line breaks kept."""
    return printable(public_text(text), keep='\n\t')


def print_note(text: str) -> None:
    """Prints a note of a command on stderr."""
    print(f'note: {shown(text)}', file=sys.stderr)


def encodable(text: str, stream: TextIO) -> str:
    r"""Returns a text with `\xe4` in place of each character that the encoding of a stream does not have."""
    encoding = getattr(stream, 'encoding', None) or 'utf-8'
    return text.encode(encoding, 'backslashreplace').decode(encoding)


def format_time(seconds: float) -> str:
    """Formats seconds for people: '42s', '3m 07s', '5h 02m', '2d 04h'."""
    s = max(round(seconds), 0)
    if s < 60:
        return f'{s}s'
    if s < 3600:
        return f'{s // 60}m {s % 60:02d}s'
    if s < 86400:
        return f'{s // 3600}h {s // 60 % 60:02d}m'
    return f'{s // 86400}d {s // 3600 % 24:02d}h'


def counted(number: int, noun: str, plural: str = '') -> str:
    """Returns '1 step', '2 steps' or, with a plural of its own, '1,024 batches'."""
    return f'{number:,} {noun if number == 1 else plural or noun + "s"}'


def format_bytes(num_bytes: float) -> str:
    """Formats a number of bytes in a decimal unit: '18.8 MB'."""
    for unit in ('B', 'kB', 'MB', 'GB'):
        if num_bytes < 1000:
            return f'{num_bytes:.0f} {unit}' if unit == 'B' else f'{num_bytes:.1f} {unit}'
        num_bytes /= 1000
    return f'{num_bytes:.1f} TB'
