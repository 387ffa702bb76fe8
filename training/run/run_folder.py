"""A run's folder: what stands in it, under which names, and how it is brought back to an earlier moment."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError
from torch_utils import checkpoint

# What a line of metric-NAME.jsonl says of its number under 'provenance': what makes two numbers the same quantity, and
# what, beyond that, makes them the same measurement.
COMPARED = ('detector', 'digest', 'preprocessing', 'estimator', 'reals_sha256', 'num_reals', 'num_fakes')
SETTINGS = (*COMPARED, 'labels_sha256', 'seeds', 'replicates', 'precision', 'batch')


def first_result(line: dict[str, Any]) -> float:
    """Of several numbers, such as precision and recall, the first."""
    return next(iter(line['results'].values()))


def same(a: dict[str, Any], b: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether two lines of a metric agree in these fields of their provenance."""
    first, second = (line.get('provenance', {}) for line in (a, b))
    return all(first.get(name) == second.get(name) for name in names)


class RunFolder:
    """Paths and records of one run.

    config.json  log.txt  stats.jsonl  metric-NAME.jsonl  reals.png  fakes_init.png  fakesKKKKKK.png
    network-snapshot-KKKKKK.safetensors   and state/IIIIIIIII/, one folder a training state, named by images shown.
    transfer.json, where the run began with the networks of another. best.json: which snapshot is the best so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = path / 'state'
        self.stats = path / 'stats.jsonl'
        self.best_record = path / 'best.json'
        self.bad_images = path / 'bad-images.txt'
        self.lock = path / '.lock'

    def snapshot(self, nimg: int) -> Path:
        """The network snapshot at a number of images."""
        return self.path / f'network-snapshot-{nimg // 1000:06d}.safetensors'

    def sheet(self, nimg: int) -> Path:
        """The sheet of samples at a number of images."""
        return self.path / f'fakes{nimg // 1000:06d}.png'

    def metric(self, name: str) -> Path:
        """The results of one metric, a JSON line a snapshot."""
        return self.path / f'metric-{name}.jsonl'

    def record(self) -> dict[str, Any]:
        """The config, facts and provenance that the run was started with."""
        try:
            return json.loads((self.path / 'config.json').read_text())
        except (OSError, ValueError):
            raise CheckpointError(f'{self.path / "config.json"}: absent or unreadable; this is no run folder') from None

    def results(self, metric: str) -> list[dict[str, Any]]:
        """The recorded lines of a metric, oldest first."""
        return files.read_jsonl(self.metric(metric))

    def last_stats(self) -> dict[str, Any]:
        """The newest line of stats.jsonl, or nothing."""
        records = files.read_jsonl(self.stats)
        return records[-1] if records else {}

    def curve(self, metric: str) -> list[dict[str, Any]]:
        """The lines of a metric that may stand on one curve, by nimg: those that compare as the newest one does.

        Of several at one place, such as other seeds, the last one counts. Lines without a finite number are left out.
        """
        lines = [line for line in self.results(metric) if math.isfinite(first_result(line))]
        alike = [line for line in lines if same(line, lines[-1], COMPARED)]
        return sorted({line['nimg']: line for line in alike}.values(), key=lambda line: line['nimg'])

    def best(self, metric: str, *, lower_is_better: bool) -> dict[str, Any] | None:
        """The line with the best first result of a metric's curve; None when there is no line."""
        sign = 1 if lower_is_better else -1
        return min(self.curve(metric), key=lambda line: sign * first_result(line), default=None)

    def record_best(self, line: dict[str, Any]) -> bool:
        """Writes best.json; returns whether it says anything new."""
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
        """Drops the records of what came after `nimg` images: it will be computed again, to the same bits."""
        for path in [self.stats, *self.path.glob('metric-*.jsonl')]:
            if path.exists():
                files.write_jsonl(path, [line for line in files.read_jsonl(path) if line['nimg'] <= nimg])
        if self._best_nimg() > nimg:
            files.remove(self.best_record)
        for folder in (self.path, self.states):
            files.sweep(folder)

    def newest_state(self, warn: Callable[[str], None]) -> Path:
        """The newest whole training state; damaged ones are reported through `warn`."""
        return checkpoint.newest_state(self.states, warn)
