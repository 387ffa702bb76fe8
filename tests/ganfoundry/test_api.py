"""Measuring and training from Python: the numbers of calc_metrics.py, the runs of train.py."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import ganfoundry as gf
from dnnlib.errors import ConfigError, DataError
from ganfoundry import meter
from ganfoundry.api import train_arguments
from ganfoundry.commands import calc_metrics
from tests.ganfoundry.conftest import TINY
from tests.support.measured import ToyDetector
from tests.support.runs import call, last_state, only_run

pytestmark = pytest.mark.slow


@pytest.fixture
def detector(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: ToyDetector())
    monkeypatch.setattr('metrics.cache.cache_folder', lambda: tmp_path / 'cache')


# --- measuring ---------------------------------------------------------------


def test_a_generator_has_the_numbers_of_calc_metrics(G, detector, capsys):
    calc_metrics.main.main([f'--network={G.path}', '--metrics=fd_efflite32,pr_efflite32_full', '--device=cpu',
                            '--precision=fp32', '--no-plot', '--verbose=0'], standalone_mode=False)  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = gf.measure(G, ['fd_efflite32', 'pr_efflite32_full'])
    assert all(isinstance(estimate, gf.Estimate) for estimate in found.values())
    assert {name: estimate.value for name, estimate in found.items()} == {**lines[0]['results'], **lines[1]['results']}


def test_batches_are_measured_whether_they_can_be_read_again_or_not(labeled_data, G, detector):
    images = np.random.default_rng(0).integers(0, 256, [40, 16, 16, 3], np.uint8)
    names = ['fd_efflite16', 'is_efflite32']
    batches = [images[:10], torch.from_numpy(images[10:30]), images[30:]]
    expected = gf.measure(batches, names, data=labeled_data)
    assert expected.keys() == {'fd_efflite16', 'is_efflite32_mean', 'is_efflite32_std'}
    assert gf.measure(iter(batches), names, data=str(labeled_data)) == expected
    assert gf.measure(batches, names, data=G) == expected  # the same images, without x-flips and subset
    with_errors = gf.measure(batches, 'fd_efflite16', data=labeled_data, bootstrap=5)['fd_efflite16']
    assert with_errors.value == expected['fd_efflite16'].value
    assert with_errors.std > 0


@pytest.mark.parametrize(
    ('shape', 'metrics', 'options', 'message'),
    [
        (
            [40, 3, 16, 16],
            'fd_efflite16',
            {},
            r'a batch is uint8 \[40, 3, 16, 16\]; metrics take uint8 \[N, 16, 16, C\]',
        ),
        ([10, 16, 16, 3], 'fd_efflite16', {}, 'fd_efflite16 needs 16 images, there are 10'),
        ([40, 16, 16, 3], 'fd_eflite16', {}, 'unknown metric'),
        ([40, 16, 16, 3], [], {}, 'metrics is empty'),
        ([40, 16, 16, 3], 'fd_efflite16', {'data': None}, 'data is needed'),
        ([40, 16, 16, 3], 'fd_efflite16', {'num_seeds': 2}, 'num_seeds'),
        ([40, 16, 16, 3], 'ppl_zfull16', {}, 'ppl_zfull16'),
    ],
)
def test_images_that_cannot_be_measured_are_refused(labeled_data, detector, shape, metrics, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        gf.measure([np.zeros(shape, np.uint8)], metrics, **{'data': labeled_data, **options})


def test_a_path_is_no_subject(labeled_data):
    with pytest.raises(ConfigError, match=r"subject='net.safetensors' is a path; measure\(load\(path\)"):
        gf.measure('net.safetensors', 'fd_efflite16', data=labeled_data)


# --- training ----------------------------------------------------------------


def test_keywords_are_the_flags_of_train():
    flags = {'cfg': 'squeeze', 'data': Path('a.zip'), 'mirror': True, 'gamma': 0.5, 'seed': None, 'metrics': ['a', 'b'],
             'plugin': 'p.py', 'set': {'r1.interval': 8, 'x': True}, 'time_limit': '2h', 'batch_gpu': 4}  # fmt: skip
    assert train_arguments(flags) == [
        '--cfg=squeeze', '--data=a.zip', '--mirror=1', '--gamma=0.5', '--metrics=a,b', '--plugin=p.py',
        '--set=r1.interval=8', '--set=x=True', '--for=2h', '--batch-gpu=4',
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"train\(\) has no flag 'gama': did you mean 'gamma'\?"):
        train_arguments({'gama': 1})


def test_a_run_is_the_one_of_the_command_line_and_continues(tmp_path, trained, labeled_data):
    assert last_state(trained)[1]['nimg'] == 1000
    flags = [f'--{name.replace("_", "-")}={value}' for name, value in TINY.items() if name != 'set']
    flags += [f'--set={name}={value}' for name, value in TINY['set'].items()]
    call(tmp_path / 'a', f'--data={labeled_data}', '--cfg=squeeze', '--cond=1', '--kimg=1', *flags)
    assert last_state(only_run(tmp_path / 'a')) == last_state(trained)
    copy = shutil.copytree(trained, tmp_path / '00000-copy')
    assert gf.train(resume=copy, kimg=2, snap=1000) == copy
    assert last_state(copy)[1]['nimg'] == 2000


def test_several_processes_are_started_and_their_folder_is_returned(tmp_path, labeled_data):
    outdir = tmp_path / 'runs'
    folder = gf.train(cfg='squeeze', data=labeled_data, outdir=outdir, kimg=1, gpus=2, deterministic=True, **TINY)
    assert folder == only_run(outdir)
    assert json.loads((folder / 'config.json').read_text())['config']['gpus'] == 2
    assert last_state(folder)[1]['nimg'] == 1000


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ({'cfg': 'squeze'}, "unknown --cfg 'squeze'"),
        ({'aug': 'adda'}, "'adda' is not one of"),
        ({'kimg': 'many'}, "'many' is not a valid integer"),
        ({'dry_run': True}, 'for a plan or a list use'),
        ({'cfg': 'list'}, 'for a plan or a list use'),
    ],
)
def test_flags_that_are_wrong_are_named(tmp_path, labeled_data, flags, message):
    with pytest.raises(ConfigError, match=message):
        gf.train(data=labeled_data, outdir=tmp_path / 'runs', **flags)
    assert not (tmp_path / 'runs').exists()
