"""Time limits: how long a process may run, and when it has to begin to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from dnnlib.errors import ConfigError

UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: neither done nor failed; the same command continues the run


def parse_duration(text: str, option: str) -> float:
    """Returns the seconds of '2h', '90m', '5400s', '1d', '1h30m' or '1.5h'. ConfigError names the option."""
    parts = re.findall(r'(\d+(?:\.\d+)?)([smhd])', text)
    if not parts or ''.join(number + unit for number, unit in parts) != text:
        raise ConfigError(f'{option}={text}: expected a duration such as 2h, 90m, 5400s, 1d or 1h30m')
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ConfigError(f'{option}={text}: must be longer than 0 s')
    return seconds


class TimeLimit:
    """Time limit that leaves enough time to finish the current work and to save the state.

    It reserves the longest time that has passed between two calls of `reached` (a step, or the end of a tick with its
    sheet and snapshot), the longest save, and a tenth of both. Before the first call, no step has been timed.
    """

    def __init__(self, seconds: float, used: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts the clock.

        Args:
            seconds: Time that the process may run.
            used: Time that it has already run, in seconds.
            clock: Function that returns the time in seconds.
        """
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds - used
        self._asked: float | None = None
        self._longest_step = 0.0
        self._longest_save = 0.0

    def saved(self, seconds: float) -> None:
        """Records the duration of a save in seconds."""
        self._longest_save = max(self._longest_save, seconds)

    def reached(self) -> bool:
        """Returns whether it is time to stop. Call it at every step."""
        now = self._clock()
        if self._asked is not None:
            self._longest_step = max(self._longest_step, now - self._asked)
        self._asked = now
        return now + 1.1 * (self._longest_step + self._longest_save) >= self._end
