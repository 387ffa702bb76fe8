"""A run's folder: what stands in it, under which names, and how it is brought back to an earlier moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError
from torch_utils import checkpoint


class RunFolder:
    """Paths and records of one run.

    config.json  log.txt  stats.jsonl  metric-NAME.jsonl  reals.png  fakes_init.png  fakesKKKKKK.png
    network-snapshot-KKKKKK.safetensors   and state/IIIIIIIII/, one folder a training state, named by images shown.
    transfer.json, where the run began with the networks of another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = path / 'state'
        self.stats = path / 'stats.jsonl'
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

    def best(self, metric: str, *, lower_is_better: bool) -> dict[str, Any] | None:
        """The line with the best first result of a metric; None when there is no line."""
        sign = 1 if lower_is_better else -1
        return min(self.results(metric), key=lambda line: sign * next(iter(line['results'].values())), default=None)

    def rewind(self, nimg: int) -> None:
        """Drops the records of what came after `nimg` images: it will be computed again, to the same bits."""
        for path in [self.stats, *self.path.glob('metric-*.jsonl')]:
            if path.exists():
                files.write_jsonl(path, [line for line in files.read_jsonl(path) if line['nimg'] <= nimg])
        for folder in (self.path, self.states):
            files.sweep(folder)

    def newest_state(self, warn: Callable[[str], None]) -> Path:
        """The newest whole training state; damaged ones are reported through `warn`."""
        return checkpoint.newest_state(self.states, warn)
