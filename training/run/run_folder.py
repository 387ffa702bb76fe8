"""Run folder: its files, their names, and the removal of records after a rollback."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError
from torch_utils import checkpoint

# Fields of 'provenance' in a line of metric-NAME.jsonl. Two numbers with equal COMPARED fields measure the same
# quantity; with equal SETTINGS they are the same measurement.
COMPARED = ('detector', 'digest', 'preprocessing', 'estimator', 'reals_sha256', 'num_reals', 'num_fakes')
SETTINGS = (*COMPARED, 'labels_sha256', 'seeds', 'replicates', 'precision', 'batch')


def first_result(line: dict[str, Any]) -> float:
    """Returns the first number of a line; a metric may have several, such as precision and recall."""
    return float(next(iter(line['results'].values())))


def same(a: dict[str, Any], b: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether two lines of a metric have equal provenance fields `names`."""
    first, second = (line.get('provenance', {}) for line in (a, b))
    return all(first.get(name) == second.get(name) for name in names)


def is_measurement(line: dict[str, Any]) -> bool:
    """Whether a line of metric-NAME.jsonl, which anybody may have edited, has numbers and a number of images."""
    results = line.get('results')
    if not isinstance(results, dict) or not results or not isinstance(line.get('provenance', {}), dict):
        return False
    whole = type(line.get('nimg')) is int and line['nimg'] >= 0
    return whole and all(type(value) in (int, float) for value in results.values())


class RunFolder:
    """Paths and records of one run.

    The folder contains config.json, log.txt, stats.jsonl, metric-NAME.jsonl, reals.png, fakes_init.png,
    fakesKKKKKK.png, network-snapshot-KKKKKK.safetensors, and state/IIIIIIIII/, one folder per training state, named by
    the number of images shown. best.json names the best snapshot so far. transfer.json exists if the run started from
    the networks of another.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = path / 'state'
        self.stats = path / 'stats.jsonl'
        self.best_record = path / 'best.json'
        self.bad_images = path / 'bad-images.txt'
        self.lock = path / '.lock'

    def snapshot(self, nimg: int) -> Path:
        """Returns the path of the network snapshot at `nimg` images."""
        return self.path / f'network-snapshot-{nimg // 1000:06d}.safetensors'

    def state(self, nimg: int) -> Path:
        """Returns the path of the training state at `nimg` images."""
        return self.states / f'{nimg:09d}'

    def sheet(self, nimg: int) -> Path:
        """Returns the path of the sample sheet at `nimg` images."""
        return self.path / f'fakes{nimg // 1000:06d}.png'

    def metric(self, name: str) -> Path:
        """Returns the path of a metric's results, one JSON line per snapshot."""
        return self.path / f'metric-{name}.jsonl'

    def record(self) -> dict[str, Any]:
        """Returns config.json: the run's config, facts of the data set, and provenance.

        Raises:
            CheckpointError: if the file is missing or unreadable.
        """
        try:
            record: dict[str, Any] = json.loads((self.path / 'config.json').read_text())
        except (OSError, ValueError):
            raise CheckpointError(
                f'{self.path / "config.json"}: missing or unreadable; this is not a run folder'
            ) from None
        return record

    def results(self, metric: str) -> list[dict[str, Any]]:
        """Returns the recorded lines of a metric, oldest first; a line that is no measurement is passed over."""
        return [line for line in files.read_jsonl(self.metric(metric)) if is_measurement(line)]

    def last_stats(self) -> dict[str, Any]:
        """Returns the newest line of stats.jsonl, or an empty dict."""
        records = files.read_jsonl(self.stats)
        return records[-1] if records else {}

    def curve(self, metric: str) -> list[dict[str, Any]]:
        """Returns the lines of a metric that are comparable with the newest one, sorted by nimg.

        If several lines have the same nimg, for instance with different seeds, the last one is used. Lines without a
        finite number are omitted.
        """
        lines = [line for line in self.results(metric) if math.isfinite(first_result(line))]
        comparable = [line for line in lines if same(line, lines[-1], COMPARED)]
        return sorted({line['nimg']: line for line in comparable}.values(), key=lambda line: line['nimg'])

    def best(self, metric: str, *, lower_is_better: bool) -> dict[str, Any] | None:
        """Returns the line of a metric's curve with the best first result, or None if there is no line."""
        sign = 1 if lower_is_better else -1
        return min(self.curve(metric), key=lambda line: sign * first_result(line), default=None)

    def record_best(self, line: dict[str, Any]) -> bool:
        """Writes best.json. Returns whether its contents have changed."""
        metric, value = next(iter(line['results'].items()))
        record = {'metric': metric, 'value': value, 'nimg': line['nimg'], 'snapshot': self.snapshot(line['nimg']).name}
        text = json.dumps(record, indent=2) + '\n'
        if self.best_record.exists() and self.best_record.read_text() == text:
            return False
        files.write_json(self.best_record, record)
        return True

    def _best_nimg(self) -> int:
        try:
            return int(json.loads(self.best_record.read_text())['nimg'])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def rewind(self, nimg: int) -> None:
        """Removes the records later than `nimg` images; the run computes them again, bit for bit."""
        for path in [self.stats, *self.path.glob('metric-*.jsonl')]:
            if path.exists():
                files.write_jsonl(path, [line for line in files.read_jsonl(path) if line['nimg'] <= nimg])
        if self._best_nimg() > nimg:
            files.remove(self.best_record)
        for folder in (self.path, self.states):
            files.sweep(folder)

    def newest_state(self, warn: Callable[[str], None]) -> Path:
        """Returns the newest intact training state; `warn` receives a message per damaged one."""
        return checkpoint.newest_state(self.states, warn)
