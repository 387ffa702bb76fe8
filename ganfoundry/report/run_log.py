"""Lines of a run's log.txt that its report needs: warnings, the way the run ended, the command that continues it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# Beginnings of the guardian's messages (training/optimize/guardian.py); each is followed by '; ' and its advice.
GUARDIAN = (
    'D recognizes nearly every real image',
    'the augmentation strength has been at its cap',
    'samples of a class differ only',
    'samples have lost their diversity',  # runs of version 0.2 and earlier
    'the metric has become worse',
)
NOTED = (b'WARNING', b'run folder ', b'done: ', b'nothing to do', b'stopped at ', b'continue: ', b'Error: ')
_TICK = re.compile(rb'tick \d+ +kimg ([\d.]+)')
_WARNING = re.compile(r'WARNING(?: \(rank \d+\))?: ')


@dataclass(kw_only=True, slots=True)
class LoggedWarning:
    """A warning of the log.

    Attributes:
        text: Its words, without 'WARNING: '.
        kimg: Moment of the tick before it, '' before the first tick.
        count: Number of times that it follows itself.
    """

    text: str
    kimg: str
    count: int = 1

    @property
    def is_guardians(self) -> bool:
        """Whether the guardian has written it."""
        return self.text.startswith(GUARDIAN)

    @property
    def symptom(self) -> str:
        """The words before the advice."""
        return self.text.partition('; ')[0]

    @property
    def advice(self) -> str:
        """The words after the first semicolon, '' without any."""
        return self.text.partition('; ')[2]


class RunLog:
    """Contents of log.txt as far as it was read.

    Attributes:
        warnings: The warnings, oldest first.
        launches: Number of processes that have trained the run, one after the other.
        ending: How the newest launch ended; 'none' if it says nothing about that.
        stopped: The line that says where it stopped, and why.
        continue_words: Options with which the newest launch is to be continued, after --resume.
        errors: Errors of the newest launch.
    """

    def __init__(self) -> None:
        self.warnings: list[LoggedWarning] = []
        self.launches = 0
        self.ending: Literal['none', 'done', 'stopped'] = 'none'
        self.stopped = ''
        self.continue_words: list[str] = []
        self.errors: list[str] = []
        self._tick = b''

    def add(self, lines: Iterable[bytes]) -> None:
        """Adds lines."""
        for line in lines:
            if line.startswith(b'tick '):
                self._tick, self.ending = line, 'none'
            elif line.startswith(NOTED):
                self._note(line.decode('utf-8', 'replace').rstrip('\n'))

    def _note(self, line: str) -> None:
        first, _, rest = line.partition(' ')
        if found := _WARNING.match(line):
            self._warn(line[found.end() :])
        elif first == 'run':
            self.launches += 1
            self.ending, self.errors = 'none', []
        elif first in ('done:', 'nothing'):
            self.ending = 'done'
        elif first == 'stopped':
            self.ending, self.stopped = 'stopped', line
        elif first == 'continue:':
            self.continue_words = after_resume(rest)
        elif first == 'Error:':
            self.errors.append(rest)

    def _warn(self, text: str) -> None:
        found = _TICK.match(self._tick)
        kimg = found[1].decode() if found else ''
        if self.warnings and self.warnings[-1].text == text:
            self.warnings[-1].count += 1
        else:
            self.warnings.append(LoggedWarning(text=text, kimg=kimg))


def after_resume(command: str) -> list[str]:
    """Returns the words of a command that follow --resume=FOLDER; none if the line is no such command."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation mark without its pair: the line was cut
        return []
    at = next((index for index, word in enumerate(words) if word.startswith('--resume=')), len(words))
    return words[at + 1 :]
