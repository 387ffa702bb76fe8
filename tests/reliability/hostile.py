"""Reads hostile files through the doors that users have, under an audit hook; for a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from tests.support import legacy_audit
from training.run.snapshot import load_snapshot
from training.run.transfer import load_source

DOORS: dict[str, Callable[[Path], Any]] = {
    'generate.py --network': load_snapshot,
    'train.py --resume': lambda path: load_source(str(path)),
}


def load(door: str, files: list[str], folder: str) -> None:
    """Loads files and prints one line of JSON: outcomes, forbidden events, memory.

    Args:
        door: A key of DOORS.
        files: Paths of hostile files.
        folder: Working folder, in which a canary would appear.
    """
    os.chdir(folder)
    read = DOORS[door]
    legacy_audit.warm_up()
    with contextlib.suppress(UserError):
        read(Path(__file__))  # lazy imports are none of a file's doing
    sys.addaudithook(legacy_audit.hook)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = Counter(legacy_audit.watched(read, Path(file)) for file in files)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({'outcomes': outcomes, 'forbidden': legacy_audit.seen, 'grown_bytes': grown}))
