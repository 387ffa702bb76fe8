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
from torch_utils.distributed import World
from training.config import RunConfig
from training.optimize.health import NONFINITE
from training.run.run_folder import RunFolder
from training.state import TrainState

MOST_RETRIES = 3  # rollbacks to one state
REMEDY = 'resume one with a smaller --glr and --dlr, a larger --gamma, or --precision=fp32'


class Recovery:
    """Judges statistics and moves the state of a run.

    Every process of the run calls the same methods and knows the same statistics. Rank 0 speaks, looks for the state
    to go back to, and clears away what came after it.
    """

    def __init__(self, cfg: RunConfig, state: TrainState, folder: RunFolder, log: Log, world: World) -> None:
        self.cfg, self.state, self.folder, self.log, self.world = cfg, state, folder, log, world

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
                self._warn(warning)
        return False

    def to_best(self, nimg: int) -> bool:
        """Goes back to the state of the best snapshot, at `nimg` images, once for each; whether it did."""
        guardian = self.state.guardian
        assert guardian is not None
        if nimg in (guardian.returned_to, self.state.nimg):
            return False
        path = self.folder.states / f'{nimg:09d}'
        damage = self.world.shared(lambda: damage_of(path))
        if damage is not None:
            self._warn(f'{damage}; there is no going back to the best snapshot, training goes on')
            guardian.returned_to = nimg  # not tried again
            return False
        tensors, scalars = checkpoint.load_state(path)
        for newer in checkpoint.list_states(self.folder.states) if self.world.leads else ():
            if newer.name > path.name:
                files.remove(newer)
        self._load(path, tensors, scalars)
        guardian.returned_to = nimg
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
        self._warn(f'{text}; {done}')

    def _retry(self, text: str) -> None:
        try:
            path = Path(self.world.shared(lambda: str(self.folder.newest_state(self.log.warn))))
            tensors, scalars = checkpoint.load_state(path)
        except UserError as error:
            raise UserError(f'{text}, and --on-nan=rollback has no state to go back to ({error})') from None
        if self.state.retry - scalars.get('retry', 0) >= MOST_RETRIES:
            raise UserError(
                f'{text}, for the {MOST_RETRIES + 1}th time from {path} with other draws and other images: the '
                f'settings are at fault; {REMEDY}'
            )
        self._warn(text)
        self._load(path, tensors, scalars)

    def _load(self, path: Path, tensors: checkpoint.Tensors, scalars: dict[str, Any]) -> None:
        state, nimg = self.state, self.state.nimg
        retry = state.retry + 1
        state.load(tensors, scalars, where=str(path))
        state.retry = retry
        try:
            if self.world.leads:
                self.folder.rewind(state.nimg)
        except OSError as error:
            self._warn(f'{self.folder.path}: what came after {path} stays in its records ({error.strerror})')
        self._warn(
            f'rolled back from {nimg / 1000:.2f} kimg to {path} and going on with other draws and other images '
            f'(rollback {retry} of this run)'
        )

    def _warn(self, text: str) -> None:
        """All processes see the same; one of them says it."""
        if self.world.leads:
            self.log.warn(text)


def damage_of(path: Path) -> str | None:
    """What is wrong with a state, or nothing. All of it is read: what can be read once is there for all processes."""
    try:
        checkpoint.load_state(path)
    except CheckpointError as error:
        return str(error)
    return None


def count_faults(stats: dict[str, dict[str, float]]) -> int:
    """Optimiser steps of a tick whose losses or gradients were not finite."""
    faults = stats.get(NONFINITE, {'mean': 0.0, 'num': 0})
    return round(faults['mean'] * faults['num'])
