"""What a run does about what went wrong in it: warns, ends, or goes back to a state from before.

After a rollback other draws and other images follow (`TrainState.retry`), so that the fault is not repeated. Nothing is
written for it: a run that is killed before it has saved again comes to the same fault and goes the same way. But which
state is the newest depends on the clock (`save_every_s`) and on requests to stop: two runs with one fault are the same
only as far as they went back to the same state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError, UserError
from dnnlib.log import Log
from torch_utils import checkpoint
from training.config import RunConfig
from training.health import NONFINITE
from training.run_folder import RunFolder
from training.state import TrainState

MOST_RETRIES = 3  # rollbacks to one state
REMEDY = 'resume one with a smaller --glr and --dlr, a larger --gamma, or --precision=fp32'


class Recovery:
    """Judges statistics and moves the state of a run."""

    def __init__(self, cfg: RunConfig, state: TrainState, folder: RunFolder, log: Log) -> None:
        self.cfg, self.state, self.folder, self.log = cfg, state, folder, log

    def after_tick(self, stats: dict[str, dict[str, float]], at_cap: bool) -> bool:
        """Acts on the statistics of a tick; whether the state was rolled back. UserError ends the run."""
        faults = count_faults(stats)
        if faults:
            steps = int(stats[NONFINITE]['num'])
            text = f'losses or gradients were not finite in {faults} of {steps} optimiser steps of this tick'
            if self.cfg.on_nan == 'rollback':
                self._retry(text)
                return True
            self._judge(text, hopeless=faults == steps)
        if self.state.guardian is not None:
            signs = stats.get('Loss/signs/real', {'mean': 0.0})
            for warning in self.state.guardian.tick(signs['mean'], at_cap):
                self.log.warn(warning)
        return False

    def to_best(self, best: dict[str, Any] | None) -> bool:
        """Goes back to the state of the best snapshot, once for each; whether it did.

        best: line of the metric's record, None where there is none.
        """
        guardian = self.state.guardian
        assert guardian is not None
        if best is None or best['nimg'] in (guardian.returned_to, self.state.nimg):
            return False
        path = self.folder.states / f'{best["nimg"]:09d}'
        try:
            tensors, scalars = checkpoint.load_state(path)
        except CheckpointError as error:
            self.log.warn(f'{error}; there is no going back to the best snapshot, training goes on')
            guardian.returned_to = best['nimg']  # not tried again
            return False
        for newer in checkpoint.list_states(self.folder.states):
            if newer.name > path.name:
                files.remove(newer)
        self._load(path, tensors, scalars)
        guardian.returned_to = best['nimg']
        return True

    def _judge(self, text: str, hopeless: bool) -> None:
        """Faults that no rollback answers. hopeless: no step of the tick was without."""
        if self.cfg.on_nan == 'abort':
            raise UserError(f'{text}, and --on-nan=abort: the states in {self.folder.states} are whole; {REMEDY}')
        if self.cfg.on_nan == 'skip' and hopeless:
            raise UserError(
                f'training has diverged: {text}. The states in {self.folder.states} are from before; {REMEDY}'
            )
        done = 'their gradients were masked' if self.cfg.on_nan == 'mask' else 'those steps were skipped'
        self.log.warn(f'{text}; {done}')

    def _retry(self, text: str) -> None:
        try:
            path = self.folder.newest_state(self.log.warn)
            tensors, scalars = checkpoint.load_state(path)
        except CheckpointError as error:
            raise UserError(f'{text}, and --on-nan=rollback has no state to go back to ({error})') from None
        if self.state.retry - scalars.get('retry', 0) >= MOST_RETRIES:
            raise UserError(
                f'{text}, for the {MOST_RETRIES + 1}th time from {path} with other draws and other images: the '
                f'settings are at fault; {REMEDY}'
            )
        self.log.warn(text)
        self._load(path, tensors, scalars)

    def _load(self, path: Path, tensors: checkpoint.Tensors, scalars: dict[str, Any]) -> None:
        state, nimg = self.state, self.state.nimg
        retry = state.retry + 1
        state.load(tensors, scalars, where=str(path))
        state.retry = retry
        try:
            self.folder.rewind(state.nimg)
        except OSError as error:
            self.log.warn(f'{self.folder.path}: what came after {path} stays in its records ({error.strerror})')
        self.log.warn(
            f'rolled back from {nimg / 1000:.2f} kimg to {path} and going on with other draws and other images '
            f'(rollback {retry} of this run)'
        )


def count_faults(stats: dict[str, dict[str, float]]) -> int:
    """Optimiser steps of a tick whose losses or gradients were not finite."""
    faults = stats.get(NONFINITE, {'mean': 0.0, 'num': 0})
    return round(faults['mean'] * faults['num'])
