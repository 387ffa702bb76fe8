"""Unusable images in the middle of a run: an error, or a substitute (`--bad-images`).

The substitute of an image is the next usable one, with its label: a function of the index alone, so the stream is the
same for any number of workers and after any restart.

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

MAX_SHARE = 0.001  # share of a data set that may be bad
ALWAYS_ALLOWED = 3  # bad images that are allowed in a set of any size


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """The result of reading a batch."""

    indices: np.ndarray  # int64 [B], of the images that were read
    faults: dict[str, str]  # file name to fault, of the images that were replaced


def read_into(
    images: np.ndarray,
    dataset: ImageDataset,
    indices: np.ndarray,
    max_bad: int,
) -> Read:
    """Decodes images into a buffer.

    Args:
        images: Output, [B, C, H, W] of the data set's dtype.
        dataset: Data set to read from.
        indices: Images to read, int64 [B].
        max_bad: Number of consecutive bad images that the next usable one may replace; 0 replaces none.

    Returns:
        The indices of the images read, and the faults of those that were replaced.

    Raises:
        DataError: More than `max_bad` consecutive images cannot be used.
    """
    used = np.array(indices)
    faults: dict[str, str] = {}
    for slot, index in enumerate(indices):
        images[slot], used[slot], bad = read_one(dataset, int(index), max_bad)
        faults |= bad
    return Read(indices=used, faults=faults)


def read_one(dataset: ImageDataset, index: int, max_bad: int) -> tuple[np.ndarray, int, dict[str, str]]:
    """Reads an image, or the next one that can be used.

    Args:
        dataset: Data set to read from.
        index: Image to read.
        max_bad: Number of consecutive bad images that may be replaced; 0 replaces none.

    Returns:
        Pixels [C, H, W], the index of the image that was read, and file name to fault of the images before it.

    Raises:
        DataError: More than `max_bad` consecutive images cannot be used.
    """
    faults: dict[str, str] = {}
    for _ in range(max_bad):
        try:
            return dataset.image(index), index, faults
        except DataError as error:
            faults[dataset.filename(index)] = str(error)
            index = (index + 1) % len(dataset)
    return dataset.image(index), index, faults


class BadImages:
    """The bad images of a run: each is reported once by name, recorded in a file of JSON lines, and counted.

    The file counts as a whole: the entries of earlier launches, and those of other processes, each of which meets
    images of its own.
    """

    def __init__(self, path: Path, dataset: ImageDataset, warn: Callable[[str], None]) -> None:
        """Reads the images recorded so far.

        Args:
            path: bad-images.txt of the run folder.
            dataset: Data set of the run.
            warn: Callback that receives each warning.
        """
        self._path, self._warn = path, warn
        self.num_files = len(dataset) // (2 if dataset.cfg.mirror else 1)
        self.max_bad = max_bad(self.num_files)
        self._names = self._recorded()

    def count(self) -> int:
        """Returns the number of bad images so far, including those of other processes."""
        self._names |= self._recorded()
        return len(self._names)

    def add(self, faults: dict[str, str]) -> None:
        """Records the faults of a batch. Raises DataError when there are too many bad images."""
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
                f'--bad-images=skip passes over; they are listed in {self._path}: repair them and delete that list'
            )

    def _recorded(self) -> set[str]:
        names = (line.get('name') for line in files.read_jsonl(self._path))
        return {name for name in names if isinstance(name, str)}

    def _record(self, name: str, fault: str) -> None:
        try:
            files.append_line(self._path, json.dumps({'name': name, 'fault': fault}))
        except OSError as error:
            self._warn(f'{self._path}: cannot be written ({error.strerror}); training continues')


def max_bad(num_files: int) -> int:
    """Returns how many of `num_files` files may be bad: 0.1 %, and 3 in a small set.

    Reading: "more than 0.1 % (at least 3) abort" could also mean that the third bad image of a small set ends the run.
    Here three are skipped: 0.1 % of a small set is none, so the first bad image would end the run.
    """
    return max(ALWAYS_ALLOWED, int(num_files * MAX_SHARE))
