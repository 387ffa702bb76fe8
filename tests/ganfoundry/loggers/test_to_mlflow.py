"""MLflow, by a fake of the calls of its client that the logger uses: the package itself is not among the pins."""

from __future__ import annotations

import sys
import types
from typing import Any, ClassVar, NamedTuple

import pytest

from ganfoundry.loggers.send import LogOptions, run_log
from tests.support.run_records import METRIC, add_snapshot, add_tick, make_folder


class Param(NamedTuple):
    key: str
    value: str


class Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


class Server:
    """Experiments and runs in memory, with the methods of mlflow.tracking.MlflowClient."""

    experiments: ClassVar[dict[str, str]] = {}
    runs: ClassVar[list[Any]] = []
    uris: ClassVar[list[str | None]] = []

    def __init__(self, uri: str | None) -> None:
        self.uris.append(uri)

    def get_experiment_by_name(self, name: str) -> Any:
        found = self.experiments.get(name)
        return None if found is None else types.SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, '7')

    def search_runs(self, experiment_ids: list[str], filter_string: str, max_results: int) -> list[Any]:
        return [run for run in self.runs if filter_string == f"tags.`ganfoundry.run` = '{run.tags['ganfoundry.run']}'"]

    def create_run(self, experiment_id: str, tags: dict[str, str], run_name: str) -> Any:
        info = types.SimpleNamespace(run_id=f'run{len(self.runs)}')
        run = types.SimpleNamespace(info=info, tags=tags, name=run_name, params={}, metrics=[], files=[], status=None)
        self.runs.append(run)
        return run

    def log_batch(self, run_id: str, metrics: tuple[Metric, ...] = (), params: tuple[Param, ...] = ()) -> None:
        assert len(params) <= 100
        self._run(run_id).params.update({param.key: param.value for param in params})
        self._run(run_id).metrics += [(metric.key, metric.value, metric.step) for metric in metrics]

    def log_artifact(self, run_id: str, path: str, folder: str) -> None:
        self._run(run_id).files.append((folder, path.rpartition('/')[2]))

    def set_terminated(self, run_id: str, status: str) -> None:
        self._run(run_id).status = status

    def _run(self, run_id: str) -> Any:
        return next(run for run in self.runs if run.info.run_id == run_id)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    for name, value in (('experiments', {}), ('runs', []), ('uris', [])):
        monkeypatch.setattr(Server, name, value)
    monkeypatch.setitem(sys.modules, 'mlflow', types.ModuleType('mlflow'))
    monkeypatch.setitem(sys.modules, 'mlflow.entities', types.SimpleNamespace(Param=Param, Metric=Metric))
    monkeypatch.setitem(sys.modules, 'mlflow.tracking', types.SimpleNamespace(MlflowClient=Server))
    return Server


def test_a_run_is_continued_and_a_rewind_is_a_run_of_its_own(server, tmp_path, monkeypatch):
    monkeypatch.setenv('MLFLOW_EXPERIMENT_NAME', 'people')
    folder = make_folder(tmp_path / '00000-run')
    add_tick(folder, 400)
    options = LogOptions(run=str(folder.path), to='mlflow')
    run_log(options)
    (run,) = server.runs
    assert (run.name, run.status, run.params['config.kimg']) == ('00000-run', 'KILLED', '1')
    add_tick(folder, 1000)
    add_snapshot(folder, 1000)
    run_log(options)
    assert run.metrics == [('Loss/G/loss', 0.5, 400), ('Loss/G/loss', 0.5, 1000), (f'Metrics/{METRIC}', 100.0, 1000)]
    assert run.files == [('fakes', 'fakes_init.png'), ('reals', 'reals.png'), ('fakes', 'fakes000001.png')]
    assert run.status == 'FINISHED'
    folder.rewind(500)
    add_tick(folder, 1000)
    run_log(options)
    assert [(run.name, len(run.metrics)) for run in server.runs] == [('00000-run', 3), ('00000-run (2)', 1)]
    assert server.experiments == {'people': '7'}
    assert set(server.uris) == {None}


def test_offline_is_a_store_in_the_run_folder(server, tmp_path):
    folder = make_folder(tmp_path / '00000-run')
    run_log(LogOptions(run=str(folder.path), to='mlflow', mode='offline'))
    assert server.uris == [str(folder.path / 'mlruns')]


def test_names_and_values_are_those_that_the_server_takes(server, tmp_path):
    folder = make_folder(tmp_path / '00000-run')
    long = {f'ab:{n}': 'x' * 1000 for n in range(150)}
    folder.config.write_text(folder.config.read_text().replace('"facts": {}', f'"facts": {long}'.replace("'", '"')))
    run_log(LogOptions(run=str(folder.path), to='mlflow'))
    (run,) = server.runs
    assert run.params['facts.ab_149'] == 'x' * 500
