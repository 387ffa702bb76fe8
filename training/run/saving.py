"""What a run writes: its states above all. A write that fails is told, and training goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib.log import Log, format_bytes
from torch_utils import checkpoint
from training.run.run_folder import RunFolder
from training.state import TrainState


class Saver:
    """Writes the files of a run folder.

    keep: how many states stay. best: the line of the best snapshot, whose state stays too. saved: is told how many
    seconds each save of a state has taken. at: when the last state was saved, or this began; seconds: how long it took.
    """

    def __init__(
        self,
        state: TrainState,
        folder: RunFolder,
        log: Log,
        keep: int,
        best: Callable[[], dict[str, Any] | None],
        saved: Callable[[float], None],
        seconds: float,
    ) -> None:
        """seconds: what a save took in an earlier sitting."""
        self._state, self._folder, self._log = state, folder, log
        self._keep, self._best, self._saved = keep, best, saved
        self.at, self.seconds = time.monotonic(), seconds
        saved(seconds)

    def save_state(self) -> None:
        """The state as it is now; older ones go."""
        name = f'{self._state.nimg:09d}'

        def save() -> None:
            began = time.monotonic()
            checkpoint.save_state(self._folder.states, name, self._state.tensors(), self._state.scalars())
            self.at = time.monotonic()
            self.seconds = self.at - began
            self._saved(self.seconds)
            best = self._best()
            protected = set() if best is None else {f'{best["nimg"]:09d}'}
            checkpoint.prune_states(self._folder.states, self._keep, protected, self._log.warn)

        self.guarded(save, self._folder.states / name)

    def guarded(self, save: Callable[[], None], path: Path) -> None:
        """Runs a save. A full disk or a lost folder is reported; what was there stays whole and training goes on."""
        try:
            save()
        except checkpoint.WriteErrors as error:
            needed = sum(t.numel() * t.element_size() for t in self._state.tensors().values())
            self._log.warn(
                f'{path}: not saved ({error}); a training state takes {format_bytes(needed)}, '
                f'{_free(path.parent)} free. What was saved before is whole; training goes on and tries again'
            )

    def draw(self, save: Callable[[], None], path: Path) -> None:
        """As `guarded`, for a picture: whatever the error is, it is no reason to stop training."""
        try:
            self.guarded(save, path)
        except Exception as error:
            self._log.warn(f'{path}: cannot be drawn ({type(error).__name__}: {error}); training goes on')


def _free(folder: Path) -> str:
    """'12.3 GB is', of the disk that a folder is on."""
    try:
        return f'{format_bytes(shutil.disk_usage(folder).free)} is'
    except OSError:
        return 'an unknown amount is'
