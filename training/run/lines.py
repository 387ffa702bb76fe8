"""Lines of a run's records: which of them can be used and compared, and the removal of later ones to another file."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import RecordError
from dnnlib.records import RESULTS, Record, parse_record, read_records
from dnnlib.regular_file import open_regular

# Fields of 'provenance' in a line of metric-NAME.jsonl. Two numbers with equal COMPARED fields measure the same
# quantity; with equal SETTINGS they are the same measurement.
COMPARED = (
    'detector',
    'digest',
    'preprocessing',
    'estimator',
    'reals_sha256',
    'reals_classes_sha256',
    'num_reals',
    'num_fakes',
)
SETTINGS = (*COMPARED, 'labels_sha256', 'seeds', 'replicates', 'precision', 'tf32', 'batch')


def check_stats(record: Record) -> None:
    """Raises RecordError if a line is not one of stats.jsonl."""
    record.whole('nimg')
    for name in record.values:
        if '/' in name:
            record.record(name).number('mean', finite=False)


def check_measurement(record: Record) -> None:
    """Raises RecordError if a line is not one of metric-NAME.jsonl, with numbers and their number of images."""
    record.whole('nimg')
    results = record.record('results')
    if not results.values:
        record.refuse('results', 'at least one number')
    for name in results.values:
        results.number(name, finite=False)
    if 'provenance' in record:
        record.record('provenance')
    if 'snapshot' in record:
        record.text('snapshot')


def usable(path: Path, check: Callable[[Record], None]) -> list[dict[str, Any]]:
    """Returns the lines of a file that pass a check."""
    lines = []
    for record in read_records(path, damaged=lambda error: None):
        with contextlib.suppress(RecordError):
            check(record)
            lines.append(record.values)
    return lines


def first_result(line: dict[str, Any]) -> float:
    """Returns the first number of a line; a metric may have several, such as precision and recall."""
    return float(next(iter(line['results'].values())))


def same(a: dict[str, Any], b: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether two lines of a metric have equal provenance fields `names`."""
    first, second = (line.get('provenance', {}) for line in (a, b))
    return all(first.get(name) == second.get(name) for name in names)


def comparable(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the lines of a metric that are comparable with the newest one, sorted by nimg.

    If several lines have the same nimg, for instance with different seeds, the last one is used. Lines without a finite
    number are omitted.
    """
    finite = [line for line in lines if math.isfinite(first_result(line))]
    chosen = [line for line in finite if same(line, finite[-1], COMPARED)]
    return sorted({line['nimg']: line for line in chosen}.values(), key=lambda line: line['nimg'])


def set_aside(path: Path, nimg: int) -> None:
    """Moves the lines of a file that are later than `nimg` images, or unreadable, to NAME.before-N. Raises OSError."""
    if not path.exists():
        return
    with open_regular(path) as file:
        lines = file.readlines()
    later = [not _is_until(line, nimg) for line in lines]
    if not any(later):
        return
    files.write_bytes(spare(path), b''.join(itertools.compress(lines, later)))
    files.write_bytes(path, b''.join(line for line, gone in zip(lines, later, strict=True) if not gone))


def _is_until(line: bytes, nimg: int) -> bool:
    """Whether a line of a record states a number of images of at most `nimg`."""
    try:
        return parse_record(line, '', RESULTS).whole('nimg') <= nimg
    except RecordError:
        return False


def spare(path: Path) -> Path:
    """Returns the first free path NAME.before-N."""
    paths = (path.with_name(f'{path.name}.before-{n}') for n in itertools.count(1))
    return next(path for path in paths if not path.exists())
