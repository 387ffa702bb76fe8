"""MLflow. Its own settings hold: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, and those of the server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TAG = 'ganfoundry.run'  # holds the id of run and segment, by which a run is found again
MAX_METRICS = 1000  # the server's limit per request
MAX_PARAMS = 100  # the server's limit per request
MAX_CHARS = 500  # length of the value of a parameter
STATUS = {'finished': 'FINISHED', 'stopped': 'KILLED', 'failed': 'FAILED', 'rewound': 'KILLED'}


class MlflowLogger:
    """An MLflow run per segment, in the experiment `ganfoundry` by default. Steps are numbers of images."""

    def __init__(self) -> None:
        self._client: Any = None
        self._run_id = ''

    def start(self, record: Mapping[str, Any]) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        log = record['log']
        self._client = MlflowClient(str(Path(log['folder'], 'mlruns')) if log['mode'] == 'offline' else None)
        name = os.environ.get('MLFLOW_EXPERIMENT_NAME', 'ganfoundry')
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        found = self._client.search_runs([experiment_id], f"tags.`{TAG}` = '{log['id']}'", max_results=1)
        if found:
            self._run_id = found[0].info.run_id
            self._client.set_terminated(self._run_id, 'RUNNING')
            return
        tags = {TAG: log['id'], 'ganfoundry.group': log['group'], 'ganfoundry.segment': str(log['segment'])}
        self._run_id = self._client.create_run(experiment_id, tags=tags, run_name=log['name']).info.run_id
        leaves = _leaves({name: value for name, value in record.items() if name != 'log'})
        params = [Param(_name(path), str(value)[:MAX_CHARS]) for path, value in leaves]
        for first in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + MAX_PARAMS])

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(name), value, now, nimg) for name, value in values.items()]
        for first in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[first : first + MAX_METRICS])

    def image(self, name: str, path: Path, nimg: int) -> None:
        self._client.log_artifact(self._run_id, str(path), name)

    def finish(self, state: str) -> None:
        self._client.set_terminated(self._run_id, STATUS[state])


def _leaves(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of every leaf of nested dicts."""
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _leaves(below, f'{path}.{name}' if path else str(name))
    else:
        yield path, value


def _name(text: str) -> str:
    """Returns a name with the characters that MLflow allows."""
    return re.sub(r'[^\w\-./ ]', '_', text, flags=re.ASCII)[:250]
