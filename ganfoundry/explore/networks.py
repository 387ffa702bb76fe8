"""Networks that the explorer shows next to each other, each with the snapshots of its run."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from dnnlib.errors import ConfigError
from dnnlib.paths import user_path
from ganfoundry.explore.model import Model
from ganfoundry.network import load
from training.run.open_network import with_latest
from training.run.run_folder import RunFolder

NUM_MODELS = 3  # snapshots of a run that stay in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """How networks are loaded: the arguments of `network.load`."""

    device: str = 'auto'
    precision: str = 'fp32'
    plugin: tuple[str, ...] = ()


class Side:
    """One place of the page: a network, or the snapshots of a run.

    Args:
        where: --network or --compare.
        loading: How its networks are loaded.

    Attributes:
        first: The network that `where` names.
    """

    def __init__(self, where: str, loading: Loading) -> None:
        self._loading = loading
        path = Path(with_latest(user_path(where)))
        self._run = RunFolder(path) if path.is_dir() else None
        self.first = Model(load(where, device=loading.device, precision=loading.precision, plugin=loading.plugin))
        self._models: OrderedDict[Path, Model] = OrderedDict()

    @property
    def name(self) -> str:
        """Title of the side: the run folder's name, or the file's."""
        return self.first.network.path.name if self._run is None else self._run.path.name

    def snapshots(self) -> list[str]:
        """Returns the names of the run's snapshots, oldest first; none without a run folder."""
        return [] if self._run is None else [path.stem for path in self._run.snapshots()]

    def model(self, snapshot: str) -> Model:
        """Returns the model of a snapshot; empty for the network that was named.

        The name is compared with the files of the run folder and is never a part of a path.

        Raises:
            ConfigError: If there is no such snapshot.
            CheckpointError: If its file is damaged.
        """
        if not snapshot or snapshot == self.first.network.path.stem:
            return self.first
        paths = [] if self._run is None else self._run.snapshots()
        path = next((path for path in paths if path.stem == snapshot), None)
        if path is None:
            raise ConfigError(f'snapshot={snapshot[:60]}: {self.name} has no snapshot of this name; reload the page')
        if path not in self._models:
            loading = self._loading
            self._models[path] = Model(load(path, device=loading.device, precision=loading.precision))
        self._models.move_to_end(path)
        while len(self._models) > NUM_MODELS:
            self._models.popitem(last=False)
        return self._models[path]
