"""The loop's promises: when it measures, what failures it survives, and what it keeps."""

import json
import resource
import signal
import time
import zipfile
from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import UserError
from tests.support.loops import loops_in
from tests.support.runs import TINY, call, command, last_state, losses, make_zip, only_run, start
from torch_utils import checkpoint
from torch_utils.stats import Collector
from torch_utils.timing import PhaseTimer
from training.augment.config import AugmentConfig
from training.config import LossConfig
from training.loop import Loop


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


def test_a_step_that_reads_two_batches_of_data_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, 'end_nimg', Loop.end_nimg)  # restores it
    states = []
    for name, ends in (('whole', (32,)), ('halves', (16, 32))):
        (tmp_path / name).mkdir()
        make = loops_in(tmp_path / name, fresh_reals=True, loss=LossConfig(kind='relativistic'), aug=AugmentConfig())
        for end in ends:
            loop, done = make(end_nimg=end)
            assert done
        states.append(loop.state)
    assert states[0].data_position == 64
    for key, value in states[0].tensors().items():
        assert torch.equal(states[1].tensors()[key], value), key


def test_a_process_that_reports_nothing_keeps_no_events_of_its_phases(make_loop, monkeypatch):
    """Ranks above 0 have no reporter."""

    class Event:
        def __init__(self, enable_timing=False): ...
        def record(self): ...
        def elapsed_time(self, other):
            return 1.0

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    monkeypatch.setattr('training.step.PhaseTimer', lambda device: PhaseTimer(torch.device('cuda')))
    monkeypatch.setattr('training.loop.Reporter', lambda *args: None)
    loop, done = make_loop(end_nimg=16)
    assert done
    assert loop.step.timer.read() == {}


def test_time_that_the_device_still_needs_at_the_end_of_a_tick_belongs_to_the_tick(make_loop, monkeypatch):
    clock, summary = [0.0], Collector.summary

    def wait(self):
        clock[0] += 5
        return summary(self)

    monkeypatch.setattr('training.loop.time', SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Collector, 'summary', wait)
    loop, _ = make_loop(end_nimg=16)
    ticks = [json.loads(line) for line in loop.folder.stats.read_text().splitlines()]
    assert [tick['Timing/sec_per_tick']['mean'] for tick in ticks] == [5] * len(ticks)
    assert [tick['Timing/maintenance_sec']['mean'] for tick in ticks] == [0] * len(ticks)


@pytest.fixture
def train(tmp_path):
    """Yields a function that starts train.py; the processes are ended with the test."""
    started = []

    def run(outdir, *flags):
        started.append(start(tmp_path, *command(outdir, *flags)[1:]))
        return started[-1]

    yield run
    for launch in started:
        if launch.poll() is None:
            launch.kill(signal.SIGKILL)
            launch.wait()


def first_state(outdir):
    """Returns the folder of the run as soon as it holds a whole state."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for folder in outdir.glob('0*'):
            if checkpoint.list_states(folder / 'state'):
                return folder
        time.sleep(0.02)
    raise TimeoutError(f'no state in {outdir}')


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_training_goes_on(tmp_path, train):
    """The disk fills while the run saves, and has room again later: the run ends with the bits of any other."""
    data = make_zip(tmp_path / 'tiny.zip')
    flags = (f'--data={data}', '--cfg=auto', '--kimg=1', *TINY)
    call(tmp_path / 'whole', *flags)
    launch = train(tmp_path / 'full', *flags)
    folder = first_state(tmp_path / 'full')
    deadline = time.monotonic() + 100
    resource.prlimit(launch.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    while 'not saved' not in (folder / 'log.txt').read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    checkpoint.newest_state(folder / 'state', lambda text: None)  # the one from before is whole
    resource.prlimit(launch.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert launch.wait() == 0
    assert 'Earlier saves are intact; training continues' in launch.said()
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
def test_two_processes_never_train_in_one_folder(tmp_path, train):
    data = make_zip(tmp_path / 'tiny.zip')
    launch = train(tmp_path / 'runs', f'--data={data}', '--kimg=100', *TINY)
    folder = first_state(tmp_path / 'runs')
    second = call(tmp_path / 'runs', f'--resume={folder}', check=False)
    assert second.returncode == 2
    assert f'another process trains in this folder: pid {launch.pid}' in second.stderr
