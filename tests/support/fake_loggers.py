"""Loggers for processes of their own: one that keeps its calls in RUN/kept.jsonl, and three that fail."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnnlib.files import append_line, read_jsonl
from ganfoundry.loggers import child


class Keeps:
    """Logger that appends its calls to RUN/kept.jsonl."""

    def start(self, record: Mapping[str, Any]) -> None:
        self.path = Path(record['log']['folder'], 'kept.jsonl')
        self._keep('start', record['log']['segment'])

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self._keep('scalars', nimg)

    def image(self, name: str, path: Path, nimg: int) -> None:
        self._keep('image', path.name)

    def finish(self, state: str) -> None:
        self._keep('finish', state)

    def _keep(self, method: str, what: Any) -> None:
        append_line(self.path, json.dumps({'method': method, 'what': what}))


def kept(folder: Path, method: str) -> list[Any]:
    """Returns the arguments of the calls of a method of `Keeps` in a run folder."""
    return [line['what'] for line in read_jsonl(folder / 'kept.jsonl') if line['method'] == method]


class Raises(Keeps):
    """Logger without a network."""

    def _keep(self, method: str, what: Any) -> None:
        raise ConnectionError('no network')


class Dies(Keeps):
    """Logger that is killed."""

    def _keep(self, method: str, what: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Keeps):
    """Logger that does not return from its first call; the limit of the process becomes one second."""

    def __init__(self) -> None:
        child.LIMIT_S = 1.0

    def _keep(self, method: str, what: Any) -> None:
        time.sleep(1000)
