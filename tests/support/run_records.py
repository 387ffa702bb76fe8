"""Records of a run without its training: config.json, lines of ticks and metrics, sheets; and a logger that records."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image

from dnnlib.files import append_line, write_json
from training.run.run_folder import RunFolder

METRIC = 'fd_efflite20'


def make_folder(path: Path, kimg: int = 1) -> RunFolder:
    """Makes a run folder with config.json and the sheets of the beginning."""
    path.mkdir(parents=True)
    write_json(path / 'config.json', {'config': {'cfg': 'auto', 'kimg': kimg}, 'facts': {}, 'run_id': 'a1b2'})
    for number, name in enumerate(('reals.png', 'fakes_init.png')):
        PIL.Image.new('RGB', (4, 4), (number, 0, 0)).save(path / name)
    return RunFolder(path)


def add_tick(folder: RunFolder, nimg: int, loss: float = 0.5) -> None:
    """Appends the line of a tick."""
    line = {'Loss/G/loss': {'num': 1, 'mean': loss, 'std': 0.0}, 'nimg': nimg, 'timestamp': time.time()}
    append_line(folder.stats, json.dumps(line))


def add_snapshot(folder: RunFolder, nimg: int, value: float = 100.0) -> None:
    """Writes the sheet of a snapshot, and appends the line of its metric."""
    PIL.Image.new('RGB', (4, 4), (1, nimg % 251, int(value) % 256)).save(folder.sheet(nimg))
    append_line(folder.metric(METRIC), json.dumps({'results': {METRIC: value}, 'metric': METRIC, 'nimg': nimg}))


class Recorder:
    """Logger that keeps its calls, such as ('scalars', {'a': 1.0}, 500), in a list of the class."""

    calls: ClassVar[list[tuple[Any, ...]]] = []

    def start(self, record: Mapping[str, Any]) -> None:
        self.calls.append(('start', record['log']['id'], record['log']['segment']))

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self.calls.append(('scalars', dict(values), nimg))

    def image(self, name: str, path: Path, nimg: int) -> None:
        self.calls.append(('image', name, nimg))

    def finish(self, state: str) -> None:
        self.calls.append(('finish', state))
