"""Saving of training states and pictures. A failed write is reported, and training continues."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib.errors import UserError
from dnnlib.files import write_json
from dnnlib.log import Log, format_bytes
from torch_utils import checkpoint
from training.run.run_folder import RunFolder
from training.state import TrainState


class Saver:
    """Writer of a run folder's states and pictures.

    Args:
        state: the state to save.
        folder: the run folder.
        log: receives the messages.
        keep: number of states to keep besides the best one.
        best: returns the line of the best snapshot, whose state is kept, or None.
        saved: callback that receives the duration of every save of a state, in seconds.
        seconds: duration of a save in an earlier launch, 0 if unknown.
        record: contents of config.json; its run_id is saved with every state.

    Attributes:
        at: time of the last save, or of the construction, by `time.monotonic`.
        seconds: duration of the last save.
        unsaved: names of files and states whose last write has failed.
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
        record: dict[str, Any],
    ) -> None:
        self._state, self._folder, self._log = state, folder, log
        self._keep, self._best, self._saved = keep, best, saved
        self._record, self._path = record, folder.path
        self.at, self.seconds = time.monotonic(), seconds
        self.unsaved = set[str]()
        saved(seconds)

    def save_state(self) -> None:
        """Saves the current state and removes states beyond `keep`."""
        path = self._folder.state(self._state.nimg)

        def save() -> None:
            began = time.monotonic()
            self._find_folder()
            tensors, scalars = self._state.tensors(), self._state.scalars()
            checkpoint.save_state(self._folder.states, path.name, tensors, scalars, self._record.get('run_id'))
            self.at = time.monotonic()
            self.seconds = self.at - began
            self._saved(self.seconds)

        if self.guarded(save, path):
            self._prune()

    def _find_folder(self) -> None:
        """Reports a run folder that was renamed. Makes one that was removed again, so that its states can be used."""
        if (path := self._folder.path) != self._path:
            self._log.line(f'the run folder is now {path}')
            self._path = path
        if not path.exists():
            path.mkdir(parents=True)
            write_json(self._folder.config, self._record)
            self._log.warn(f'{path}: the run folder was removed; a new one of this name holds the states from now on')

    def _prune(self) -> None:
        """Removes states beyond `keep`. All stay while the records that show which is the best cannot be read."""
        try:
            best = self._best()
            protected = set() if best is None else {f'{best["nimg"]:09d}'}
            checkpoint.prune_states(self._folder.states, self._keep, protected, self._log.warn)
        except (OSError, UserError) as error:
            self._log.warn(f'{self._folder.states}: old states cannot be removed ({error}); training continues')

    def guarded(self, save: Callable[[], None], path: Path) -> bool:
        """Runs a save and reports a full disk or a missing folder. Earlier files stay intact.

        Returns whether the file has been written.
        """
        try:
            save()
        except checkpoint.WriteErrors as error:
            self.unsaved.add(path.name)
            needed = sum(t.numel() * t.element_size() for t in self._state.tensors().values())
            self._log.warn(
                f'{path}: not saved ({error}); a training state takes {format_bytes(needed)}, '
                f'{_free(path.parent)} free. Earlier saves are intact; training continues and tries again'
            )
            return False
        self.unsaved.discard(path.name)
        return True

    def missing(self, *, complete: bool) -> list[Path]:
        """Returns what this process should have written last and has not.

        complete: whether the run is complete and has a network file; a run that was stopped has a state only.
        """
        nimg = self._state.nimg
        if complete:
            files = [self._folder.state(nimg), self._folder.snapshot(nimg)]
            return [path for path in files if path.name in self.unsaved or not path.exists()]
        return [path for path in [self._folder.state(nimg)] if path.name in self.unsaved]

    def draw(self, save: Callable[[], None], path: Path) -> None:
        """Runs a save of a picture and reports any error: no failed picture may stop training."""
        try:
            self.guarded(save, path)
        except Exception as error:
            self._log.warn(f'{path}: cannot be drawn ({type(error).__name__}: {error}); training continues')


def _free(folder: Path) -> str:
    """Returns the free space of a folder's disk as the start of a clause, such as '12.3 GB is'."""
    try:
        return f'{format_bytes(shutil.disk_usage(folder).free)} is'
    except OSError:
        return 'an unknown amount is'
