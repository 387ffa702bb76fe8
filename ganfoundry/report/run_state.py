"""State of a run in one sentence: what its files say, with the time that is left."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dnnlib.log import format_time
from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.ticks import NIMG, TIMESTAMP

Kind = Literal['empty', 'begins', 'running', 'finished', 'stopped', 'diverged', 'lost']
RECENT_TICKS = 10  # number of ticks whose speed gives the remaining time
SILENT_S = 600.0  # a run of another machine counts as running for this long after its last tick, at least
SILENT_TICKS = 5  # and for this number of ticks
NONFINITE = 'Health/nonfinite_steps'


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """State of a run. kind: in one word. sentence: in one sentence."""

    kind: Kind
    sentence: str


def total_kimg(run: RunReading) -> float | None:
    """Returns the length of a run by its record; None if that is missing."""
    config = run.record.get('config')
    value = config.get('kimg') if isinstance(config, dict) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None


def state_of(run: RunReading, now: float | None = None) -> RunState:
    """Returns the state of a run. now: seconds since 1970; None for the present time."""
    now = time.time() if now is None else now
    kind = _kind(run, now)
    return RunState(kind=kind, sentence=_sentence(run, kind, now))


def _kind(run: RunReading, now: float) -> Kind:
    if run.is_empty:
        return 'empty'
    if _is_running(run, now):
        return 'running' if len(run.ticks) else 'begins'
    total = total_kimg(run)
    if run.log.ending == 'done' or (total is not None and run.nimg >= total * 1000 > 0):
        return 'finished'
    if (run.ticks.last(NONFINITE) or 0) >= 1:
        return 'diverged'
    return 'stopped' if run.log.ending == 'stopped' else 'lost'


def _is_running(run: RunReading, now: float) -> bool:
    """Whether a process trains the run: by the lock, else by the age of the last tick."""
    if run.lock.held is not None:
        return run.lock.held
    if run.log.ending != 'none':
        return False
    last = run.ticks.last(TIMESTAMP)
    usual = (run.ticks.last('Timing/sec_per_tick') or 0) + (run.ticks.last('Timing/maintenance_sec') or 0)
    return last is not None and now - last < max(SILENT_S, SILENT_TICKS * usual)


def sec_per_kimg(run: RunReading) -> float | None:
    """Returns seconds per kimg of the newest ticks, with their maintenance; None before the first tick."""
    ticks, n = run.ticks, RECENT_TICKS
    if not {'Timing/sec_per_tick', 'Timing/maintenance_sec'} <= set(ticks.names()):
        return None
    nimg = ticks.column(NIMG)[-n - 1 :]
    if len(nimg) < 2:
        return ticks.last('Timing/sec_per_kimg')
    spent = ticks.column('Timing/sec_per_tick')[-n:] + ticks.column('Timing/maintenance_sec')[-n:]
    return float(np.nansum(spent[-len(nimg) + 1 :]) / (nimg[-1] - nimg[0]) * 1000)


def remaining_s(run: RunReading) -> float | None:
    """Returns the seconds that are left at the present speed; None if that is unknown."""
    total, speed = total_kimg(run), sec_per_kimg(run)
    if total is None or speed is None or not np.isfinite(speed):
        return None
    return max(total - run.nimg / 1000, 0) * speed


def _sentence(run: RunReading, kind: Kind, now: float) -> str:
    if kind == 'empty':
        return 'Nothing of a run is in this folder yet.'
    where = f' on {run.lock.host}' if run.lock.held is None and run.lock.host else ''
    if kind == 'begins':
        return f'Running{where}: the first tick has not ended yet.'
    if not len(run.ticks):
        return f'{_BEGINNINGS[kind]} before its first tick ended.'
    total = total_kimg(run)
    at = f'{run.nimg / 1000:g}' + (f' of {total:g} kimg ({run.nimg / total / 10:.0f} %)' if total else ' kimg')
    spent = run.ticks.last('Timing/total_sec')
    after = f' after {format_time(spent)} of training' if spent is not None and np.isfinite(spent) else ''
    last = run.ticks.last(TIMESTAMP)
    on = f'; the last tick ended {moment_text(last)}' if last is not None else ''
    if kind == 'running':
        left = remaining_s(run)
        eta = '' if left is None else f'; about {format_time(left)} left, until {moment_text(now + left)}'
        return f'Running{where}: {at}{after}{on}{eta}.'
    if kind == 'stopped':
        return f'Stopped at {at}{after}{on}. It continues where it stopped.'
    return f'{_BEGINNINGS[kind]} at {at}{after}{on}{_ENDINGS.get(kind, "")}.'


_BEGINNINGS = {
    'finished': 'Finished',
    'stopped': 'Stopped',
    'diverged': 'Diverged',
    'lost': 'Ended without a message',
}
_ENDINGS = {
    'diverged': '; no step of that tick had finite losses and gradients',
    'lost': '; the process was killed, or its machine stopped',
}


def moment_text(seconds: float) -> str:
    """Returns a moment as a date and a time of this machine, such as 2026-11-30 16:51; '?' if it is none."""
    try:
        return datetime.datetime.fromtimestamp(seconds).strftime('%Y-%m-%d %H:%M')
    except (ValueError, OverflowError, OSError):
        return '?'
