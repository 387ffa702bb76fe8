"""Runs before they have a state: what their record names."""

import hashlib
import sys

from dnnlib.registry import load_file
from ganfoundry import runs
from ganfoundry.options import TrainFlags
from metrics.registry import METRICS
from tests.conftest import ROOT


def test_the_plugins_of_metrics_are_recorded_with_their_digest(monkeypatch):
    monkeypatch.setattr(METRICS, '_values', dict(METRICS._values))
    monkeypatch.setattr(METRICS, '_modules', dict(METRICS._modules))
    file = ROOT / 'examples' / 'my_metric.py'
    module = load_file(file).__name__
    try:
        flags = {'device': 'cpu', 'cbase': 128, 'cmax': 8, 'map_depth': 2}
        run = runs.new_run(TrainFlags(metrics='shift_efflite16,fd_efflite16', **flags))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert runs.record_of(run)['plugins'] == [{'module': module, 'file': str(file), 'sha256': digest}]
        assert 'plugins' not in runs.record_of(runs.new_run(TrainFlags(metrics='fd_efflite16', **flags)))
        assert runs.new_run(TrainFlags(metrics='None', **flags)).cfg.metrics == ()
    finally:
        del sys.modules[module]
