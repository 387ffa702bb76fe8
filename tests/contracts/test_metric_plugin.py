"""A metric and a detector are one file each outside the repository: they train and measure through --plugin."""

import json
import shutil

import pytest

from tests.conftest import ROOT
from tests.support.runs import TINY, call, make_zip, only_run

pytestmark = pytest.mark.slow  # every test starts processes

DETECTOR = '''
import torch

from metrics.detectors.interface import Features
from metrics.detectors.table import register_detector
from metrics.streams.images import to_rgb


@register_detector('thumb', feature_dim=48)
class Thumbnail:
    """The image itself, averaged to 4 x 4 pixels."""

    digest = 'no weights'
    preprocessing = 'v1: float32, area-averaged to 4 x 4'

    def __init__(self, device='cpu'):
        self.device = device

    @classmethod
    def available(cls):
        return True

    def __call__(self, images):
        x = to_rgb(images.to(self.device)).float()
        return Features(torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1), None)
'''
METRICS = '--metrics=shift_thumb16_full,fd_thumb16'


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder outside the repository with both plug-ins and a data set."""
    folder = tmp_path_factory.mktemp('plugins')
    shutil.copy(ROOT / 'examples' / 'my_metric.py', folder)
    (folder / 'thumb.py').write_text(DETECTOR)
    make_zip(folder / 'tiny.zip', num_images=24)
    return folder


def plugins(place):
    return [f'--plugin={place / name}' for name in ('my_metric.py', 'thumb.py')]


@pytest.fixture(scope='module')
def run(place):
    """A short run whose snapshots are measured by both plug-ins."""
    flags = [flag for flag in TINY if not flag.startswith(('--metrics', '--tick', '--snap'))]
    flags += [*plugins(place), f'--data={place / "tiny.zip"}', '--tick=0.5', '--snap=1', '--kimg=1']
    call(place / 'runs', *flags, '--metrics=shift_thumb50k_full,fd_thumb50k', '--metrics-images=16')
    return only_run(place / 'runs')


def test_a_run_measures_its_snapshots_and_keeps_the_best_by_a_registered_metric(run):
    lines = [json.loads(text) for text in (run / 'metric-shift_thumb16_full.jsonl').read_text().splitlines()]
    assert len(lines) >= 2
    assert (run / 'metric-fd_thumb16.jsonl').exists()
    best = json.loads((run / 'best.json').read_text())
    assert best['value'] == min(line['results']['shift_thumb16_full'] for line in lines)
    files = [plugin['file'] for plugin in lines[0]['provenance']['plugins']]
    assert files == [str(run.parent.parent / name) for name in ('my_metric.py', 'thumb.py')]
    assert lines[0]['provenance']['detector'] == 'thumb'
    assert lines[0]['provenance']['estimator'].startswith('shift, ')


def test_calc_metrics_measures_with_both_plugins_in_one_and_in_two_processes(place, run):
    words = [*plugins(place), '--device=cpu', '--no-cache', '--bootstrap=2']
    words += [f'--network={max(run.glob("network-snapshot-*"))}', METRICS]

    def results(*flags):
        done = call(place, *words, *flags, script='calc_metrics.py', forks=True)
        return [json.loads(text)['results'] for text in done.stdout.splitlines()]

    one = results()
    assert set(one[0]) == {f'shift_thumb16_full{end}' for end in ('', '_std', '_low95', '_high95')}
    assert one[0]['shift_thumb16_full'] > 0
    assert results('--gpus=2') == one


def test_without_the_plugin_the_name_is_unknown_in_one_sentence(place, run):
    words = [f'--network={run}', '--device=cpu', METRICS]
    done = call(place, *words, script='calc_metrics.py', check=False)
    assert done.returncode == 2
    assert "unknown metric 'shift_thumb16_full'" in done.stderr
    assert '--plugin=FILE' in done.stderr
