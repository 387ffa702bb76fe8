"""Runs before they have a state: what their record names."""

import hashlib
import json
import sys

import numpy as np
import PIL.Image

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


def test_the_names_of_classes_are_recorded(tmp_path):
    names = ['00.png', '01.png', '02.png', '03.png']
    for name in names:
        PIL.Image.fromarray(np.zeros([16, 16, 3], np.uint8)).save(tmp_path / name)
    labels = [[name, index % 2] for index, name in enumerate(names)]
    flags = {'data': str(tmp_path), 'device': 'cpu', 'cbase': 128, 'cmax': 8, 'map_depth': 2, 'metrics': 'none'}
    for content, recorded in (({'classes': ['cat', 'dog']}, ['cat', 'dog']), ({}, None), ({'classes': ['cat']}, None)):
        (tmp_path / 'dataset.json').write_text(json.dumps({'labels': labels, **content}))
        assert runs.record_of(runs.new_run(TrainFlags(cond=True, **flags))).get('classes') == recorded
        assert 'classes' not in runs.record_of(runs.new_run(TrainFlags(**flags)))
