"""Images that cannot be used, met in the middle of a run: an error, or another in their place (`--bad-images`).

What stands in for an image is a function of its index alone, the next one that can be used with that one's label, so
the stream is the same for any number of workers and after any restart.

Letters: B batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnnlib import files
from dnnlib.errors import DataError
from training.data.dataset import ImageDataset

MAX_SHARE = 0.001  # of a data set that may be bad
ALWAYS_ALLOWED = 3  # images that may be bad in a set of whatever size


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What became of a batch. indices: of the images that are there. faults: by file name, what is wrong with it."""

    indices: np.ndarray  # int64 [B]
    faults: dict[str, str]


def read_into(
    images: np.ndarray,  # [B, C, H, W] of the data set's dtype; is written to
    dataset: ImageDataset,
    indices: np.ndarray,  # int64 [B]
    max_bad: int,
) -> Read:
    """Decodes images. most_bad: how many in a row the next may stand in for; DataError at one more, so 0: at any."""
    used = np.array(indices)
    faults: dict[str, str] = {}
    for slot, index in enumerate(indices):
        images[slot], used[slot], bad = read_one(dataset, int(index), max_bad)
        faults |= bad
    return Read(indices=used, faults=faults)


def read_one(dataset: ImageDataset, index: int, max_bad: int) -> tuple[np.ndarray, int, dict[str, str]]:
    """Pixels [C, H, W] of an image or of the next that can be used, the index of that one, and what was wrong."""
    faults: dict[str, str] = {}
    for _ in range(max_bad):
        try:
            return dataset.image(index), index, faults
        except DataError as error:
            faults[dataset.filename(index)] = str(error)
            index = (index + 1) % len(dataset)
    return dataset.image(index), index, faults


class BadImages:
    """The bad images of a run: each told once by name, kept in a file of JSON lines, and not too many.

    path: bad-images.txt of the run folder. What stands there from earlier sittings counts, and what other processes
    write there, each of which meets images of its own.
    """

    def __init__(self, path: Path, dataset: ImageDataset, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self.num_files = len(dataset) // (2 if dataset.cfg.mirror else 1)
        self.max_bad = max_bad(self.num_files)
        self._names = self._recorded()

    def count(self) -> int:
        """How many there are by now, those that other processes have met too."""
        self._names |= self._recorded()
        return len(self._names)

    def add(self, faults: dict[str, str]) -> None:
        """Takes what reading a batch has found. DataError when there are too many bad ones."""
        new = {name: fault for name, fault in faults.items() if name not in self._names}
        if not new:
            return
        self._names |= self._recorded()
        for name, fault in new.items():
            self._names.add(name)
            self._warn(f'{fault}. The next image that can be used is shown in its place (--bad-images=skip)')
            self._record(name, fault)
        if len(self._names) > self.max_bad:
            raise DataError(
                f'{len(self._names)} of {self.num_files} images cannot be used, more than the {self.max_bad} that '
                f'--bad-images=skip passes over; they are listed in {self._path}: mend them and delete that list'
            )

    def _recorded(self) -> set[str]:
        return {line['name'] for line in files.read_jsonl(self._path)}

    def _record(self, name: str, fault: str) -> None:
        try:
            files.append_line(self._path, json.dumps({'name': name, 'fault': fault}))
        except OSError as error:
            self._warn(f'{self._path}: cannot be written ({error.strerror}); training continues')


def max_bad(num_files: int) -> int:
    """How many of so many files may be bad: 0.1 %, and 3 of a small set.

    Reading: "more than 0.1 % (at least 3) abort" could also mean that the third bad image of a small set ends the run.
    Three are passed over here: with 0.1 % of a small set, the first would end it, and skipping would be of no use.
    """
    return max(ALWAYS_ALLOWED, int(num_files * MAX_SHARE))
