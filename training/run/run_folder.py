"""Run folder: its files, their names, and the records that a rollback sets aside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.errors import CheckpointError, RecordError
from dnnlib.folders import HeldFolder
from dnnlib.records import RESULTS, read_record
from torch_utils import checkpoint
from training.run.lines import check_measurement, check_stats, comparable, first_result, set_aside, spare, usable


def moment(nimg: int) -> str:
    """Returns the name of a moment in file names: '000200' at 200 kimg, '000200_032' 32 images later.

    Two moments have two names, and the names sort in the order of the moments. At whole kimg they are
    StyleGAN2-ADA's.
    """
    kimg, rest = divmod(nimg, 1000)
    return f'{kimg:06d}_{rest:03d}' if rest else f'{kimg:06d}'


def nimg_of(snapshot: Path) -> int | None:
    """Returns the number of images that a network snapshot states; None if it is absent, damaged, or states none."""
    try:
        return int(checkpoint.load_metadata(snapshot)['nimg'])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None


class RunFolder:
    """Paths and records of one run.

    The folder contains config.json, log.txt, stats.jsonl, metric-NAME.jsonl, reals.png, fakes_init.png,
    fakesMOMENT.png, network-snapshot-MOMENT.safetensors, and state/IIIIIIIII/, one folder per training state, named by
    the number of images shown. best.json names the best snapshot so far. transfer.json exists if the run started from
    the networks of another. NAME.before-N holds the lines of NAME that the N-th rollback set aside.

    Folders of earlier versions name snapshots and sheets by whole kimg, so that a later one replaced an earlier one of
    the same kimg. Records therefore state both the snapshot's name and its number of images.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: HeldFolder | None = None

    @property
    def path(self) -> Path:
        """The folder; within `held`, where it is now."""
        return self._path if self._held is None else self._held.path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the folder open, so that the paths follow it when it is renamed. Raises CheckpointError."""
        try:
            self._held = HeldFolder(self._path)
        except OSError as error:
            raise CheckpointError(f'{self._path}: the run folder cannot be opened ({error.strerror})') from None
        try:
            yield
        finally:
            self._path = self._held.path
            self._held.close()
            self._held = None

    @property
    def config(self) -> Path:
        """The file with the run's config, facts and provenance."""
        return self.path / 'config.json'

    @property
    def states(self) -> Path:
        """The folder of the training states."""
        return self.path / 'state'

    @property
    def stats(self) -> Path:
        """The file with one line per tick."""
        return self.path / 'stats.jsonl'

    @property
    def best_record(self) -> Path:
        """The file that names the best snapshot."""
        return self.path / 'best.json'

    @property
    def bad_images(self) -> Path:
        """The list of images that could not be used."""
        return self.path / 'bad-images.txt'

    @property
    def lock(self) -> Path:
        """The file that names the process that trains."""
        return self.path / '.lock'

    def snapshot(self, nimg: int) -> Path:
        """Returns the path of the network snapshot at `nimg` images; one of an earlier version has its name there."""
        path = self.path / f'network-snapshot-{moment(nimg)}.safetensors'
        rounded = self.path / f'network-snapshot-{moment(nimg // 1000 * 1000)}.safetensors'
        return rounded if not path.exists() and nimg_of(rounded) == nimg else path

    def snapshots(self) -> list[Path]:
        """Returns the network snapshots, oldest first."""
        return sorted(self.path.glob('network-snapshot-*.safetensors'))

    def state(self, nimg: int) -> Path:
        """Returns the path of the training state at `nimg` images."""
        return self.states / f'{nimg:09d}'

    def sheet(self, nimg: int) -> Path:
        """Returns the path of the sample sheet at `nimg` images."""
        return self.path / f'fakes{moment(nimg)}.png'

    def metric(self, name: str) -> Path:
        """Returns the path of a metric's results, one JSON line per snapshot."""
        return self.path / f'metric-{name}.jsonl'

    def record(self) -> dict[str, Any]:
        """Returns config.json: the run's config, facts of the data set, and provenance.

        Raises:
            CheckpointError: if the file is missing, unreadable, or not the record of a run.
        """
        try:
            record = read_record(self.config)
            record.record('config').text('cfg')
            record.record('facts')
        except RecordError as error:
            reason = str(error).removeprefix(f'{self.config}: ')
            raise CheckpointError(
                f'{self.config}: missing or unreadable ({reason}); if this is a run folder, restore the file: the '
                f'header of every snapshot holds a copy'
            ) from None
        return record.values

    def run_id(self) -> str | None:
        """Returns the id of the run; None for a run of a version without ids, and without config.json."""
        if not self.config.exists():
            return None
        found = self.record().get('run_id')
        return found if isinstance(found, str) else None

    def results(self, metric: str) -> list[dict[str, Any]]:
        """Returns the recorded lines of a metric, oldest first; a line that is no measurement is passed over."""
        return usable(self.metric(metric), check_measurement)

    def last_stats(self) -> dict[str, Any]:
        """Returns the newest line of stats.jsonl, or an empty dict; damaged lines are passed over."""
        records = usable(self.stats, check_stats)
        return records[-1] if records else {}

    def curve(self, metric: str) -> list[dict[str, Any]]:
        """Returns the lines of a metric that are comparable with the newest one, sorted by nimg.

        If several lines have the same nimg, for instance with different seeds, the last one is used. Lines without a
        finite number are omitted.
        """
        return comparable(self.results(metric))

    def best(self, metric: str, *, lower_is_better: bool) -> dict[str, Any] | None:
        """Returns the line of a metric's curve with the best first result, or None if there is no line."""
        sign = 1 if lower_is_better else -1
        return min(self.curve(metric), key=lambda line: sign * first_result(line), default=None)

    def record_best(self, line: dict[str, Any]) -> bool:
        """Writes best.json. Returns whether its contents have changed."""
        metric, value = next(iter(line['results'].items()))
        snapshot = line.get('snapshot', self.snapshot(line['nimg']).name)
        record = {'metric': metric, 'value': value, 'nimg': line['nimg'], 'snapshot': snapshot}
        with contextlib.suppress(RecordError):
            if read_record(self.best_record, RESULTS).values == record:
                return False
        files.write_json(self.best_record, record)
        return True

    def _best_nimg(self) -> int:
        try:
            return read_record(self.best_record, RESULTS).whole('nimg')
        except RecordError:
            return 0

    def check_unbegun(self) -> None:
        """Raises CheckpointError if records show that training went on after the first tick, which saves a state."""
        num_ticks, snapshots = len(usable(self.stats, check_stats)), self.snapshots()
        if num_ticks <= 1 and len(snapshots) <= 1 and not any(self.path.glob('metric-*.jsonl')):
            return
        or_networks = f', or with --resume={snapshots[-1]} to start from its newest networks' if snapshots else ''
        raise CheckpointError(
            f'{self.states}: holds no training state, although the run was trained ({num_ticks} ticks in '
            f'{self.stats.name}, {len(snapshots)} snapshots): bring the states back, or begin a new run without '
            f'--resume={self.path}{or_networks}'
        )

    def rewind(self, nimg: int) -> None:
        """Sets the records later than `nimg` images aside; the run computes them again, bit for bit.

        The lines of NAME go to NAME.before-N. Lines that cannot be read go with them.

        Raises:
            OSError: If a record cannot be written.
            RecordError: If a record cannot be read.
        """
        for path in [self.stats, *sorted(self.path.glob('metric-*.jsonl'))]:
            set_aside(path, nimg)
        if self._best_nimg() > nimg:
            self.best_record.rename(spare(self.best_record))
        for folder in (self.path, self.states):
            files.sweep(folder)

    def check_state(self, path: Path) -> None:
        """Raises CheckpointError if a state is damaged, or if it is one of another run or of another moment."""
        checkpoint.verify_state(path)
        nimg, run_id = checkpoint.identity_of(path)
        if nimg != int(path.name):
            raise CheckpointError(f'{path}: is the state at {nimg} images under another name')
        mine = self.run_id()
        if run_id not in (None, mine):
            raise CheckpointError(
                f'{path}: is a state of another run ({run_id[:8]}, this run is {(mine or "without an id")[:8]}); '
                f'--resume={path} starts a new run from its networks'
            )

    def newest_state(self, warn: Callable[[str], None]) -> Path:
        """Returns the newest intact training state of this run; `warn` receives a message per state passed over."""
        return checkpoint.newest_state(self.states, warn, self.check_state)
