"""Report of a soak: soak.md."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soak import Soak

# A fault is a method of Soak.
KINDS = ('kill_a_rank', 'kill_a_worker', 'terminate', 'flip_a_bit', 'fill_the_disk', 'corrupt_an_image')


def report(soak: Soak, minutes: float, kimg: int, equal: bool, verdict: str) -> str:
    """Writes soak.md."""
    counts = Counter(fault for fault, *_ in soak.struck)
    rows = [
        f'| {kind.replace("_", " ")} | {counts[kind]} | {spread(soak.recovery_s.get(kind, []))} |' for kind in KINDS
    ]
    beside = '' if soak.kimg is None else f' --kimg={soak.kimg}'
    unexpected = [f'- {line}' for line in soak.unexpected] or ['- nothing']
    return '\n'.join([
        '# Soak', '',
        f'`python bench/soak.py --minutes={minutes:g} --processes={soak.processes}{beside}`: '
        f'{len(soak.struck)} faults, {soak.sittings} launches, {kimg} kimg. The log is `soak.log`.', '',
        f'**{"Equal" if equal else "Not equal"}** to the undisturbed run. {verdict}', '',
        '| fault | times | seconds until the next tick: median, maximum |', '|---|---|---|', *rows, '',
        'Not as expected:', '', *unexpected, '',
    ])  # fmt: skip


def spread(seconds: list[float]) -> str:
    """Returns the median and the largest value as text."""
    return f'{sorted(seconds)[len(seconds) // 2]:.1f}, {max(seconds):.1f}' if seconds else '-'
