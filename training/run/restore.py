"""Initial state of a launch: the newest saved state, the networks of another run, or fresh networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnnlib.errors import CheckpointError, RecordError
from dnnlib.files import write_json
from dnnlib.log import Log
from torch_utils.checkpoint import list_states, load_state
from torch_utils.distributed import World
from training.run.run_folder import RunFolder
from training.run.transfer import Source, transfer
from training.state import NETWORKS, TrainState


def restore(state: TrainState, folder: RunFolder, source: Source | None, log: Log, world: World) -> None:
    """Loads the newest intact state of the folder, or, in a new folder, the networks of another run.

    Args:
        state: fresh state; modified in place.
        folder: the run folder.
        source: networks to start from, or None.
        log: receives the messages.
        world: the processes of the run. All of them call this function; rank 0 chooses the state.

    Raises:
        CheckpointError: if no state can be taken although there are some, or records of a trained run; if the records
            of the folder cannot be written.
    """

    def newest() -> str | None:
        if list_states(folder.states):
            return str(folder.newest_state(log.warn))
        folder.check_unbegun()
        return None

    if (path := world.shared(newest)) is not None:
        state.load(*load_state(Path(path)), where=path)
        log.line(f'continuing from {path}')
    elif source is not None:
        networks = {name: getattr(state, name) for name in NETWORKS}
        report = transfer(networks, source, log.line, log.detail)
        if world.leads:
            _write_report(folder.path / 'transfer.json', report, log)
        log.line('transfer: every tensor is listed in log.txt and transfer.json')
    world.shared(lambda: _rewind(folder, state.nimg))


def _write_report(path: Path, report: dict[str, Any], log: Log) -> None:
    """Writes transfer.json; a failed write is a warning, since log.txt has the same list."""
    try:
        write_json(path, report)
    except OSError as error:
        log.warn(f'{path}: cannot be written ({error.strerror}); training continues')


def _rewind(folder: RunFolder, nimg: int) -> None:
    """Sets later records aside before the first step, while nothing is lost by an error."""
    try:
        folder.rewind(nimg)
    except (OSError, RecordError) as error:
        reason = str(error) if isinstance(error, RecordError) else f'{error.filename}: {error.strerror}'
        raise CheckpointError(
            f'{folder.path}: records later than {nimg} images cannot be set aside ({reason}); make room on the disk '
            f'or repair the file, and resume again'
        ) from None
