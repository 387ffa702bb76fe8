"""The loop's promises: when it measures, what failures it survives, and what it keeps."""

import dataclasses
import json
import resource
import subprocess
import time
import zipfile

import pytest
import torch

from dnnlib.errors import UserError
from dnnlib.log import Log
from dnnlib.signals import StopRequested
from tests.support.forks import environment
from tests.support.runs import TINY, call, command, last_state, losses, make_zip, only_run
from torch_utils import checkpoint
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.loop import Loop
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.recipes import auto
from training.record import to_record
from training.run.run_folder import RunFolder
from training.run.sheets import SampleSheet
from training.step import TrainStep

CPU = torch.device('cpu')
WIDTHS = {'channel_base': 128, 'channel_max': 8}


class Scores:
    """An evaluator that returns prepared values of a metric, or raises them."""

    names = ('fd',)

    def __init__(self, *values):
        self.values = list(values)
        self.measured = 0

    def __call__(self, G_ema, names):
        value = self.values[self.measured]
        self.measured += 1
        if isinstance(value, Exception):
            raise value
        yield 'fd', {'results': {'fd': value}, 'metric': 'fd'}

    def lower_is_better(self, name):
        return True


@pytest.fixture
def make_loop(tmp_path):
    """A loop of a tiny run of 32 steps of 4 images: a tick every 8 images, a snapshot every second tick."""
    data = make_zip(tmp_path / 'tiny.zip', num_images=16)
    dataset = ImageDataset(DataConfig(path=str(data), resolution=8))
    cfg = dataclasses.replace(
        auto(dataset.spec, 1),
        generator=StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=1, conv_clamp=None, **WIDTHS),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_group=4, conv_clamp=None, **WIDTHS),
        batch=4, batch_gpu=4, kimg=1, tick=0.008, snap=2, save_every_s=0.0, grid_images=4, metrics=('fd',),
    )  # fmt: skip
    folder = RunFolder(tmp_path / 'run')
    folder.path.mkdir()

    def make(evaluate=None, end_nimg=64, stop=lambda: False, prepare=lambda state: None):
        state = build(cfg, dataset.spec, CPU)
        if checkpoint.list_states(folder.states):
            path = folder.newest_state(lambda text: None)
            state.load(*checkpoint.load_state(path), where=str(path))
        folder.rewind(state.nimg)
        prepare(state)
        log = Log(folder.path / 'log.txt')
        loop = Loop(
            cfg=cfg, record=to_record(cfg, dataset.spec), state=state, step=TrainStep(cfg, state, dataset, CPU),
            sheet=SampleSheet(dataset, 8, 0, 4), folder=folder, log=log, evaluate=evaluate, stop=stop,
        )  # fmt: skip
        type(loop).end_nimg = property(lambda self: end_nimg)
        with data_loader(dataset, start_nimg=state.nimg, batch_size=4, seed=0, num_workers=0) as batches, log:
            done = loop.run(batches)
        return loop, done

    original = Loop.end_nimg
    yield make
    Loop.end_nimg = original


def test_metrics_begin_with_the_second_snapshot(make_loop):
    scores = Scores(*range(10, 0, -1))
    loop, done = make_loop(scores)
    assert done
    lines = loop.folder.results('fd')
    assert [line['nimg'] for line in lines] == [20, 36, 52, 64]  # ticks 2, 4, 6 and the end; tick 0 is not measured
    assert (loop.folder.path / 'metric-fd.png').exists()


def test_the_state_of_the_best_snapshot_is_kept(make_loop):
    loop, _ = make_loop(Scores(5, 1, 7, 8))
    kept = [int(path.name) for path in checkpoint.list_states(loop.folder.states)]
    assert kept == [36, 60, 64]  # the best, and the last two
    assert loop.folder.best('fd', lower_is_better=True)['nimg'] == 36
    best = {'metric': 'fd', 'value': 1, 'nimg': 36, 'snapshot': 'network-snapshot-000000.safetensors'}
    assert json.loads(loop.folder.best_record.read_text()) == best


def test_a_failing_metric_is_reported_and_training_goes_on(make_loop):
    loop, done = make_loop(Scores(3, RuntimeError('no memory'), 2, 1))
    assert done
    assert [line['nimg'] for line in loop.folder.results('fd')] == [20, 52, 64]
    assert (
        'WARNING: metrics failed at 0.0 kimg: RuntimeError: no memory; training continues'
        in (loop.folder.path / 'log.txt').read_text()
    )
    counts = [json.loads(line)['Health/failed_metrics']['mean'] for line in loop.folder.stats.read_text().splitlines()]
    assert (counts[0], counts[-1]) == (0, 1)


def test_a_metric_that_was_interrupted_is_measured_on_resume(make_loop):
    stopped = []
    interrupted = Scores(StopRequested())

    def stop():
        return bool(interrupted.measured) and (stopped.append(1) or True)

    loop, done = make_loop(interrupted, stop=stop)
    assert not done
    assert loop.state.nimg == 20
    again = Scores(4, 3, 2, 1)
    loop, done = make_loop(again)
    assert done
    assert [line['nimg'] for line in loop.folder.results('fd')] == [20, 36, 52, 64]
    assert again.measured == 4


def test_a_step_with_a_gradient_that_is_not_finite_is_skipped_and_counted(make_loop):
    def poison(state):
        def hook(gradient):
            return gradient * float('nan') if state.nimg == 12 else gradient

        state.D.b8.conv0.weight.requires_grad_(True).register_hook(hook)
        state.D.b8.conv0.weight.requires_grad_(False)

    loop, done = make_loop(prepare=poison)
    assert done
    assert all(value.isfinite().all() for value in loop.state.tensors().values())
    assert 'in 1 of 5 optimizer steps of this tick; those steps' in (loop.folder.path / 'log.txt').read_text()


def test_divergence_ends_the_run_with_a_way_out(make_loop):
    def poison(state):
        with torch.no_grad():
            state.D.b4.out.bias.fill_(float('nan'))

    with pytest.raises(UserError, match='training has diverged'):
        make_loop(prepare=poison)


def test_every_tick_reports_time_memory_and_losses(make_loop):
    loop, _ = make_loop()
    lines = [json.loads(line) for line in (loop.folder.path / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/tick']['mean'] for line in lines] == list(range(len(lines)))
    for key in ('Loss/G/loss', 'Loss/D/loss', 'Loss/scores/real', 'Loss/signs/fake', 'Timing/sec_per_kimg',
                'Timing/Gmain', 'Resources/cpu_mem_gb', 'Timing/maintenance_sec'):  # fmt: skip
        assert lines[-1][key]['num'] >= 1
    assert 'Loss/r1_penalty' in lines[0]
    text = (loop.folder.path / 'log.txt').read_text()
    assert 'sec/kimg' in text
    assert 'eta' in text


@pytest.fixture
def start():
    """Starts train.py beside the test; whatever happens, nothing is left running."""
    started = []

    def run(outdir, *flags):
        args = {'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL, 'text': True, 'env': environment()}
        started.append(subprocess.Popen(command(outdir, *flags), **args))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def first_state(outdir):
    """The run's folder, once it holds a whole state."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for folder in outdir.glob('0*'):
            if checkpoint.list_states(folder / 'state'):
                return folder
        time.sleep(0.02)
    raise TimeoutError(f'no state in {outdir}')


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_training_goes_on(tmp_path, start):
    """The disk fills while the run saves, and has room again later: the run ends with the bits of any other."""
    data = make_zip(tmp_path / 'tiny.zip')
    flags = (f'--data={data}', '--cfg=auto', '--kimg=1', *TINY)
    call(tmp_path / 'whole', *flags)
    process = start(tmp_path / 'full', *flags)
    folder = first_state(tmp_path / 'full')
    deadline = time.monotonic() + 100
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    while 'not saved' not in (folder / 'log.txt').read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    checkpoint.newest_state(folder / 'state', lambda text: None)  # the one from before is whole
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert 'Earlier saves are intact; training continues' in output
    assert last_state(folder) == last_state(only_run(tmp_path / 'whole'))
    assert losses(folder) == losses(only_run(tmp_path / 'whole'))


@pytest.mark.slow
def test_a_bad_image_met_later_is_named_and_costs_nothing(tmp_path):
    data = tmp_path / 'images'
    with zipfile.ZipFile(make_zip(tmp_path / 'tiny.zip')) as archive:
        archive.extractall(data)
    bad = data / '00000' / 'img00000023.png'
    whole = bad.read_bytes()
    flags = (f'--data={data}', '--kimg=1', *TINY, '--set=tick=1000')
    call(tmp_path / 'whole', *flags)
    bad.write_bytes(whole[:-60])
    done = call(tmp_path / 'runs', *flags, '--workers=1', check=False)
    folder = only_run(tmp_path / 'runs')
    assert done.returncode == 2
    assert 'img00000023.png' in done.stderr.splitlines()[-1]
    assert f'--resume={folder}' in done.stdout
    bad.write_bytes(whole)
    call(tmp_path / 'runs', f'--resume={folder}')
    assert last_state(folder) == last_state(only_run(tmp_path / 'whole'))


@pytest.mark.slow
def test_two_processes_never_train_in_one_folder(tmp_path, start):
    data = make_zip(tmp_path / 'tiny.zip')
    process = start(tmp_path / 'runs', f'--data={data}', '--kimg=100', *TINY)
    folder = first_state(tmp_path / 'runs')
    second = call(tmp_path / 'runs', f'--resume={folder}', check=False)
    assert second.returncode == 2
    assert f'another process trains in this folder: pid {process.pid}' in second.stderr
