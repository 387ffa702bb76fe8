"""Metrics in training: which are measured, against what, under which names, and that none of them stops a run."""

import dataclasses
import io
import json

import pytest

from dnnlib.errors import ConfigError, DataError, UserError
from dnnlib.log import Log
from dnnlib.signals import StopRequested
from ganfoundry import meter as module
from ganfoundry import options, runs
from ganfoundry.commands import train
from ganfoundry.snapshot_metrics import for_training
from metrics.spec import parse_metric, with_count
from tests.support.measured import CPU, ToyDetector, tiny_config
from tests.support.ranks import run_ranks
from tests.support.runs import TINY, make_zip, only_run
from training.build import build
from training.data.dataset import ImageDataset
from training.run.curve import draw_curve
from training.run.run_folder import RunFolder


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip', num_images=24)


@pytest.fixture
def detector(monkeypatch, tmp_path):
    """One detector is there, the one of FID is not."""
    toy = ToyDetector()

    def get(name, device):
        if name == 'inception':
            raise UserError('the weights of inception are not on this machine: take them from there')
        return toy

    monkeypatch.setattr(module, 'get_detector', get)
    # GANFOUNDRY_CACHE would move the cache of compiled operations too.
    monkeypatch.setattr('metrics.cache.cache_folder', lambda: tmp_path / 'cache')
    return toy


class Lists(Log):
    """A log that keeps its warnings and lines."""

    def __init__(self, warnings, said):
        super().__init__(stream=io.StringIO())
        self.warn, self.line = warnings.append, said.append


def evaluator(cfg, warnings, check=lambda: None, said=None):
    """Returns the evaluator of a run, and the network that it measures."""
    dataset = ImageDataset(cfg.data)
    G = build(cfg, dataset.spec, CPU).G_ema.eval().requires_grad_(False)
    return for_training(cfg, dataset, G, Lists(warnings, [] if said is None else said), check), G


# --- what is measured --------------------------------------------------------


def test_metrics_that_cannot_be_measured_are_named_at_once_and_the_rest_is_measured(data, detector):
    cfg = tiny_config(data, metrics=('fid16_full', 'kid16_full', 'fd_efflite16', 'pr_efflite2'))
    warnings = []
    evaluate, G = evaluator(cfg, warnings)
    assert evaluate.names == ('fd_efflite16',)
    assert warnings == [
        'not measured: fid16_full, kid16_full: the weights of inception are not on this machine: take them from there',
        'not measured: pr_efflite2: pr_efflite2 asks for 2 generated images, it needs at least 8: the ball of 3 '
        'neighbors would cover more than half of fewer images',
    ]
    assert [name for name, _ in evaluate(G, evaluate.names)] == ['fd_efflite16']


def test_what_one_process_cannot_measure_no_process_does(data, monkeypatch):
    """The machine without the network reports it, and rank 0 reports its metrics."""

    def task(world):
        def get(name, device):
            if name == 'inception' and world.rank == 1:
                raise UserError('the weights of inception are not on this machine')
            return ToyDetector()

        monkeypatch.setattr(module, 'get_detector', get)
        cfg = tiny_config(data, metrics=('fid16_full', 'fd_efflite16', 'pr_efflite2'))
        dataset, warnings = ImageDataset(cfg.data), []
        G = build(cfg, dataset.spec, CPU).G_ema
        return for_training(cfg, dataset, G, Lists(warnings, []), lambda: None, world).names, warnings

    (names, first), (others, second) = run_ranks(2, task)
    assert names == others == ('fd_efflite16',)
    assert first == [
        'not measured: pr_efflite2: pr_efflite2 asks for 2 generated images, it needs at least 8: the ball of 3 '
        'neighbors would cover more than half of fewer images',
        'not measured: fid16_full: rank 1 cannot; its own message says why',
    ]
    assert second == ['not measured: fid16_full: the weights of inception are not on this machine']


def test_the_first_measurement_of_a_run_says_how_long_it_takes(data, detector, monkeypatch):
    monkeypatch.setattr('ganfoundry.progress.SHORT_S', 0.0)
    said = []
    evaluate, G = evaluator(tiny_config(data, metrics=('fd_efflite16',)), [], said=said)
    for _ in range(2):
        list(evaluate(G, evaluate.names))
    assert [text.partition(', about ')[0] for text in said] == [
        'real images for efflite: 16 images',
        'generated images for efflite: 16 images',
    ]


def test_a_run_without_any_metric_that_can_be_measured_has_no_evaluator(data, detector):
    warnings = []
    assert evaluator(tiny_config(data, metrics=('fid16',)), warnings)[0] is None
    assert len(warnings) == 1


def test_a_failure_of_one_metric_leaves_the_others(data, detector, monkeypatch):
    def broken(*args):
        raise RuntimeError('no memory')

    monkeypatch.setattr('metrics.kinds.kid.kernel_distance', broken)
    evaluate, G = evaluator(tiny_config(data, metrics=('fd_efflite16', 'kid_efflite16', 'is_efflite20')), [])
    found = dict(evaluate(G, evaluate.names))
    assert isinstance(found['kid_efflite16'], RuntimeError)
    assert found['fd_efflite16']['results']['fd_efflite16'] > 0
    assert found['is_efflite20']['results'].keys() == {'is_efflite20_mean', 'is_efflite20_std'}


def test_a_request_to_stop_ends_the_measurement_between_batches(data, detector):
    asked = []

    def check():
        if asked:
            raise StopRequested

    evaluate, G = evaluator(tiny_config(data, metrics=('fd_efflite16', 'is_efflite20')), [], check)
    asked.append(1)
    with pytest.raises(StopRequested):
        list(evaluate(G, evaluate.names))


def test_what_was_seen_in_the_reals_is_kept_from_run_to_run(data, detector):
    cfg = tiny_config(data, metrics=('fd_efflite16_full',))
    first, G = evaluator(cfg, [])
    line = dict(first(G, first.names))['fd_efflite16_full']
    seen = detector.images
    second, _ = evaluator(cfg, [])
    assert dict(second(G, second.names))['fd_efflite16_full']['results'] == line['results']
    assert detector.images == seen + 16  # the generated ones alone


def test_a_run_on_a_subset_is_measured_against_the_images_of_metric_data(tmp_path, data, detector):
    everything = make_zip(tmp_path / 'all.zip', num_images=30)
    cfg = tiny_config(data, metrics=('fd_efflite16_full', 'fd_efflite16'), metric_data=str(everything))
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, subset=10))
    evaluate, G = evaluator(cfg, [])
    lines = dict(evaluate(G, evaluate.names))
    assert [lines[name]['provenance']['num_reals'] for name in cfg.metrics] == [30, 16]
    assert lines['fd_efflite16']['provenance']['reals'] == 'all'


# --- flags -------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'count', 'expected'),
    [
        ('fid50k_full', 2000, 'fid2k_full'),
        ('fid50k', 500, 'fid500'),
        ('pr50k3_full', 2000, 'pr2k3_full'),
        ('pr50k3_full', 500, 'pr500_full'),
        ('pr_vgg16_50k3_full', 5000, 'pr_vgg16_5k3_full'),
        ('fd_dinov2_50k', 2000, 'fd_dinov2_2k'),
        ('fd_dinov250k', 2000, 'fd_dinov2_2k'),
        ('dc_efflite10k3', 2000, 'dc_efflite2k3'),
        ('is50k', 1000, 'is1k'),
        ('ppl2_wend', 2000, 'ppl2_wend2k'),
        ('ppl_zfull50k', 250, 'ppl_zfull250'),
    ],
)
def test_a_metric_of_fewer_images_has_their_number_in_its_name(name, count, expected):
    assert with_count(name, count) == expected
    before, after = parse_metric(name), parse_metric(expected)
    assert after == dataclasses.replace(before, name=expected, num_fakes=count)


def test_a_name_that_cannot_say_it_is_refused():
    with pytest.raises(ConfigError, match='number of images is one of thousands'):
        with_count('pr_efflite50k5', 500)


def test_fewer_images_rename_the_metrics_that_ask_for_more(data):
    cfg = tiny_config(data, metrics=('fid50k_full', 'fid10k_full', 'fd_efflite1k'))
    fewer = options.with_fewer_images(2000, cfg)
    assert fewer.metrics == ('fid2k_full', 'fd_efflite1k')
    (note,) = runs.renamed(cfg, fewer)
    assert note == '--metrics-images: fid50k_full, fid10k_full with fewer images, under the name fid2k_full'
    assert runs.renamed(cfg, options.with_fewer_images(None, cfg)) == ()


def test_metric_data_of_another_size_are_refused_before_a_folder_is_made(tmp_path, data):
    other = make_zip(tmp_path / 'small.zip', resolution=8)
    args = [f'--data={data}', f'--outdir={tmp_path / "runs"}', f'--metric-data={other}', '--device=cpu']
    with pytest.raises(DataError, match=r'--metric-data=.*metrics compare images of one size'):
        train.main.main(args, standalone_mode=False)
    assert not (tmp_path / 'runs').exists()


# --- a whole run -------------------------------------------------------------


@pytest.mark.slow
def test_a_run_measures_tells_draws_and_keeps_the_best(tmp_path, data, detector):
    args = [flag for flag in TINY if not flag.startswith(('--metrics', '--snap', '--tick'))]
    args += ['--kimg=1', '--tick=0.5', '--snap=1', '--metrics=fid50k_full,fd_efflite50k', '--metrics-images=16']
    train.main.main([*args, f'--data={data}', f'--outdir={tmp_path / "runs"}'], standalone_mode=False)
    run = RunFolder(only_run(tmp_path / 'runs'))
    text = (run.path / 'log.txt').read_text()
    assert '--metrics-images: fid50k_full, fd_efflite50k with fewer images' in text
    assert 'WARNING: not measured: fid16_full' in text
    lines = run.results('fd_efflite16')
    assert lines[0]['nimg'] > 8
    assert lines[-1]['nimg'] == 1000
    assert lines[-1].keys() >= {'snapshot_pkl', 'provenance', 'total_time_str', 'timestamp'}
    assert run.metric('fd_efflite16').with_suffix('.png').exists()
    best = json.loads(run.best_record.read_text())
    assert best['value'] == min(line['results']['fd_efflite16'] for line in lines)
    assert (run.path / best['snapshot']).exists()
    assert f'best so far: {best["snapshot"]}' in text


# --- curves ------------------------------------------------------------------


def test_a_curve_of_zeros_and_one_below_zero_can_be_drawn(tmp_path):
    draw_curve([(0, 0.0), (1, 0.0)], 'pr', tmp_path / 'zeros.png')
    draw_curve([(0, 0.0)], 'pr', tmp_path / 'point.png')
    draw_curve([(1, -0.002), (2, -0.001)], 'kid', tmp_path / 'negative.png')
    assert len(list(tmp_path.iterdir())) == 3


def test_a_best_snapshot_that_training_went_back_before_is_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    line = {'results': {'fd': 1.0}, 'nimg': 5000}
    assert folder.record_best(line)
    assert not folder.record_best(line)
    folder.rewind(5000)
    assert folder.best_record.exists()
    folder.rewind(4000)
    assert not folder.best_record.exists()
