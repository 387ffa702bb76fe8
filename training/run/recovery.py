"""Reactions of a run to faults: warn, stop, or roll back to an earlier state.

After a rollback, the run uses other random draws and other images (`TrainState.retry`), so that the fault does not
repeat. The rollback itself is not saved: a run that is killed before its next save meets the same fault and rolls back
in the same way. Which state is the newest depends on the clock (`save_every_s`) and on requests to stop: two runs with
the same fault are identical only if they rolled back to the same state.
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
from training.optimize.diversity import Diversity
from training.optimize.guardian import Guardian
from training.optimize.health import NONFINITE
from training.run.measuring import Measuring
from training.run.run_folder import RunFolder
from training.state import TrainState

MAX_RETRIES = 3  # rollbacks to one state
REMEDY = 'resume one with a smaller --glr and --dlr, a larger --gamma, or --precision=fp32'


class Recovery:
    """Decisions about a run's state from its statistics.

    All processes call the same methods with the same statistics. Rank 0 prints the messages, finds the state to return
    to, and removes later records.

    Args:
        cfg: the run's config.
        state: the state; rolled back in place.
        folder: the run folder.
        log: receives the messages.
        world: the processes of the run.
    """

    def __init__(self, cfg: RunConfig, state: TrainState, folder: RunFolder, log: Log, world: World) -> None:
        self.cfg, self.state, self.folder, self.log, self.world = cfg, state, folder, log, world

    def after_tick(self, stats: dict[str, dict[str, float]], at_cap: bool) -> bool:
        """Reacts to the statistics of a tick.

        Args:
            stats: statistics by name, each {'num', 'mean', 'std'}.
            at_cap: whether the augmentation strength is limited by its cap.

        Returns:
            Whether the state was rolled back.

        Raises:
            UserError: if the run must end.
        """
        faults = count_faults(stats)
        if faults:
            steps = int(stats[NONFINITE]['num'])
            text = f'losses or gradients were not finite in {faults} of {steps} optimizer steps of this tick'
            if self.cfg.on_nan == 'rollback':
                self._retry(text)
                return True
            self._judge(text, hopeless=faults == steps)
        if self.state.guardian is not None:
            signs = stats.get('Loss/signs/real', {'mean': 0.0})
            for warning in self.state.guardian.tick(signs['mean'], at_cap):
                self._warn(warning)
        return False

    def judge_samples(self, diversity: Diversity | None) -> None:
        """Warns of samples without diversity; rank 0. diversity: that of the newest sheet, None if it has none."""
        guardian = self.state.guardian
        if guardian is None or diversity is None:
            return
        for warning in guardian.samples(diversity, self.state.nimg):
            self._warn(f'{warning}; {self._way_out(guardian.varied_nimg)}')

    def _way_out(self, varied_nimg: int | None) -> str:
        """Returns what to do about samples without diversity. varied_nimg: the newest snapshot that had it."""
        remedy = 'a larger --gamma, or smaller --glr and --dlr'
        if varied_nimg is not None and (path := self.folder.snapshot(varied_nimg)).exists():
            return f'at {varied_nimg / 1000:g} kimg they still varied: begin again with --resume={path}, {remedy}'
        return f'begin a new run with {remedy}'

    def return_to_best(self, metrics: Measuring | None) -> bool:
        """Returns to the best state if the guardian asks for it; rank 0, which has the metrics, decides.

        Returns whether the state was rolled back.
        """
        guardian = self.state.guardian
        if guardian is None or guardian.cfg.mode != 'rollback' or self.state.nimg >= self.cfg.kimg * 1000:
            return False
        nimg = self.world.shared(lambda: self._wanted_best(guardian, metrics))
        return nimg is not None and self.to_best(nimg)

    def _wanted_best(self, guardian: Guardian, metrics: Measuring | None) -> int | None:
        """Returns nimg of the best state if the guardian wants to return to it, else None."""
        try:
            if metrics is None or not (guardian.alike or metrics.has_risen(guardian)):
                return None
            best = metrics.best()
        except CheckpointError as error:
            self._warn(f'{error}; the best snapshot is unknown, training continues')
            return None
        return None if best is None else int(best['nimg'])

    def to_best(self, nimg: int) -> bool:
        """Returns to the state of the best snapshot, at `nimg` images, once per best state.

        Returns whether the state was rolled back.
        """
        guardian = self.state.guardian
        assert guardian is not None
        if nimg in (guardian.returned_to, self.state.nimg):
            return False
        path = self.folder.states / f'{nimg:09d}'
        damage = self.world.shared(lambda: damage_of(self.folder, path))
        if damage is not None:
            self._warn(f'{damage}; cannot return to the best snapshot, training continues')
            guardian.returned_to = nimg  # no second attempt
            return False
        tensors, scalars = checkpoint.load_state(path)
        for newer in checkpoint.list_states(self.folder.states) if self.world.leads else ():
            if newer.name > path.name:
                files.remove(newer)
        self._load(path, tensors, scalars)
        guardian.returned_to = nimg
        return True

    def _judge(self, text: str, hopeless: bool) -> None:
        """Warns about faults, or ends the run. hopeless: whether every step of the tick had a fault."""
        if self.cfg.on_nan == 'abort':
            raise UserError(f'{text}, and --on-nan=abort: the states in {self.folder.states} are intact; {REMEDY}')
        if self.cfg.on_nan == 'skip' and hopeless:
            raise UserError(f'training has diverged: {text}. The states in {self.folder.states} are older; {REMEDY}')
        done = 'their gradients were masked' if self.cfg.on_nan == 'mask' else 'those steps were skipped'
        self._warn(f'{text}; {done}')

    def _retry(self, text: str) -> None:
        try:
            path = Path(self.world.shared(lambda: str(self.folder.newest_state(self.log.warn))))
            tensors, scalars = checkpoint.load_state(path)
        except UserError as error:
            raise UserError(f'{text}, and --on-nan=rollback has no state to return to ({error})') from None
        if self.state.retry - scalars.get('retry', 0) >= MAX_RETRIES:
            raise UserError(
                f'{text}, for the {MAX_RETRIES + 1}th time from {path} with other draws and other images: the '
                f'settings are the cause; {REMEDY}'
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
        except (OSError, CheckpointError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._warn(f'{self.folder.path}: records later than {path} cannot be set aside ({reason})')
        self._warn(
            f'rolled back from {nimg / 1000:.2f} kimg to {path}, continuing with other draws and other images '
            f'(rollback {retry} of this run)'
        )

    def _warn(self, text: str) -> None:
        """Logs a warning on rank 0; all processes have the same one."""
        if self.world.leads:
            self.log.warn(text)


def damage_of(folder: RunFolder, path: Path) -> str | None:
    """Reads a state of a run completely. Returns the reason why it cannot be loaded, or None."""
    try:
        folder.check_state(path)
    except CheckpointError as error:
        return str(error)
    return None


def count_faults(stats: dict[str, dict[str, float]]) -> int:
    """Returns the number of optimizer steps of a tick with non-finite losses or gradients."""
    faults = stats.get(NONFINITE, {'mean': 0.0, 'num': 0})
    return round(faults['mean'] * faults['num'])
