"""Initial state of a launch: the newest saved state, the networks of another run, or fresh networks."""

from __future__ import annotations

from pathlib import Path

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
    """

    def newest() -> str | None:
        return str(folder.newest_state(log.warn)) if list_states(folder.states) else None

    if (path := world.shared(newest)) is not None:
        state.load(*load_state(Path(path)), where=path)
        log.line(f'continuing from {path}')
    elif source is not None:
        networks = {name: getattr(state, name) for name in NETWORKS}
        report = transfer(networks, source, log.line, log.detail)
        if world.leads:
            write_json(folder.path / 'transfer.json', report)
        log.line('transfer: every tensor is listed in log.txt and transfer.json')
    if world.leads:
        folder.rewind(state.nimg)
