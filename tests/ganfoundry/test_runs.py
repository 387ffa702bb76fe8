"""Runs before they have a state: what their record names."""

import hashlib
import json
import sys

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.registry import load_file
from ganfoundry import runs
from ganfoundry.options import TrainFlags
from metrics.registry import METRICS
from tests.conftest import ROOT
from tests.support.runs import make_zip
from training.plan import describe_precision
from training.record import to_record


def test_the_plugins_of_metrics_are_recorded_with_their_digest(monkeypatch):
    METRICS.load_all()  # before its values are replaced for this test
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


def test_labels_are_checked_for_the_log_and_not_to_find_a_run(tmp_path, monkeypatch):
    checked = []
    monkeypatch.setattr(runs, 'unused_labels', lambda cfg, spec: (f'{checked.append(cfg.cfg)}',))
    data, outdir = make_zip(tmp_path / 'tiny.zip', num_images=4), tmp_path / 'runs'
    flags = TrainFlags(
        data=str(data), outdir=str(outdir), cond=True, resume='auto', device='cpu', metrics='none', cbase=128, cmax=8
    )
    assert runs.find_run(flags) is None
    run = runs.new_run(flags)
    folder = runs.make_folder(outdir, runs.run_name(run, flags), {})
    assert runs.find_run(flags).path == folder.path
    assert checked == []
    assert run.warnings == ('None',)
    assert checked == ['auto']


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        ({'precision': 'bf16'}, True),
        ({'precision': 'fp16'}, True),
        ({'fp32': True}, False),
        ({'precision': 'bf16', 'allow_tf32': False}, False),
        ({'fp32': True, 'allow_tf32': True}, True),
    ],
)
def test_a_run_on_a_gpu_records_whether_its_float32_is_tf32(monkeypatch, flags, expected):
    monkeypatch.setattr(runs, 'pick_device', lambda name: torch.device('cuda'))
    monkeypatch.setattr(runs.processes, 'num_processes', lambda *args: 1)
    run = runs.new_run(TrainFlags(metrics='none', cbase=128, cmax=8, map_depth=2, **flags))
    assert to_record(run.cfg, run.dataset.spec)['config']['allow_tf32'] is expected
    assert ('TF32' in describe_precision(run.cfg)) is expected


def test_a_run_on_a_cpu_records_no_tf32():
    assert not runs.new_run(TrainFlags(metrics='none', device='cpu', precision='bf16', cmax=8)).cfg.allow_tf32
