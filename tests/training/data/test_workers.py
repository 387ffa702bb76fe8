"""Promise R8: a data worker that is killed is replaced at its place in the stream, and no bit of the stream changes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
import torch

import training.data.workers
from tests.support.forks import is_running
from tests.support.patience import stretched
from tests.support.pictures import digest
from tests.support.runs import TINY, call, command, last_state, losses, make_zip, only_run, start
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.data.workers import SLOTS, WorkerDiedError


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(cond=True, subset=64))


def stream(dataset, warnings, **options):
    options = {'start_nimg': 0, 'batch_size': 8, 'seed': 2, 'num_workers': 2} | options
    return data_loader(dataset, warn=warnings.append, **options)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def expected(dataset, count, **options):
    with stream(dataset, [], num_workers=0, **options) as batches:
        return digest([next(batches) for _ in range(count)])


def test_the_stream_does_not_change_by_a_bit_whenever_workers_are_killed(dataset):
    warnings, got, killed = [], [], set()
    began = time.monotonic()
    with stream(dataset, warnings) as batches:
        for number in range(24):
            for pid in {5: [0], 6: [1], 13: [0, 1]}.get(number, [number] if number < 2 else []):
                killed.add(batches.worker_pids()[pid])
                kill(batches.worker_pids()[pid])
            got.append(next(batches))
        pids = batches.worker_pids()
        assert batches.faults()['Data/replaced_workers'] == len(killed) >= 5
    assert digest(got) == expected(dataset, 24)
    assert len(warnings) == len(killed)
    assert all('was killed by SIGKILL' in text and 'Another takes its place' in text for text in warnings)
    assert len(set(pids)) == 2
    assert time.monotonic() - began < stretched(10)


@pytest.mark.slow
def test_a_killed_worker_that_was_spawned_is_replaced_too(dataset, monkeypatch):
    monkeypatch.setattr(training.data.workers, '_context', lambda: torch.multiprocessing.get_context('spawn'))
    warnings = []
    with stream(dataset, warnings, num_workers=1) as batches:
        got = [next(batches)]
        kill(batches.worker_pids()[0])
        got += [next(batches) for _ in range(4)]
    assert digest(got) == expected(dataset, 5)
    assert len(warnings) == 1


def test_what_kills_every_worker_ends_the_run_and_the_images_in_flight_are_named(dataset, monkeypatch):
    """A memory limit that one batch always exceeds has this effect."""
    monkeypatch.setattr(ImageDataset, 'image', lambda self, index: kill(os.getpid()))
    warnings = []
    with stream(dataset, warnings, num_workers=1) as batches:
        with pytest.raises(WorkerDiedError) as caught:
            next(batches)
        assert batches.faults()['Data/replaced_workers'] == 3
    first = data_loader(dataset, start_nimg=0, batch_size=8, seed=2, num_workers=0)
    names = [dataset.filename(int(index)) for index in next(first._batches)]
    assert len(warnings) == 3
    assert 'That was the 4th in a row over one batch, of ' + ', '.join(names) in str(caught.value)


def test_deaths_are_counted_in_a_row_only(dataset):
    with stream(dataset, [], num_workers=1) as batches:
        for _ in range(5):
            kill(batches.worker_pids()[0])
            for _ in range(SLOTS + 1):  # so many may have been answered before it died, and its death is met behind
                next(batches)
        assert batches.faults()['Data/replaced_workers'] == 5


@pytest.mark.parametrize('workers', [0, 2])
def test_a_stream_goes_on_at_another_position(dataset, workers):
    with stream(dataset, [], num_workers=workers) as batches:
        next(batches)
        batches.seek(10_000)
        got = [next(batches) for _ in range(5)]
    assert digest(got) == expected(dataset, 5, start_nimg=10_000)


@pytest.mark.slow
def test_a_run_whose_workers_are_killed_ends_with_the_same_bits(tmp_path):
    flags = (
        f'--data={make_zip(tmp_path / "tiny.zip")}',
        '--kimg=1',
        *TINY,
        '--resolution=8',
        '--batch=32',
        '--batch-gpu=32',
    )
    call(tmp_path / 'whole', *flags)
    launch = start(tmp_path, *command(tmp_path / 'killed', *flags, '--workers=2')[1:])
    killed: set[int] = set()
    while launch.poll() is None:
        workers = children_of(launch.pid) - killed
        if len(killed) < 2 and workers:
            killed.add(min(workers))
            kill(min(workers))
        time.sleep(0.05)
    assert launch.code == 0, launch.said()
    assert len(killed) == 2
    assert 'Another takes its place' in launch.said()
    assert last_state(only_run(tmp_path / 'killed')) == last_state(only_run(tmp_path / 'whole'))
    assert losses(only_run(tmp_path / 'killed')) == losses(only_run(tmp_path / 'whole'))


def children_of(pid):
    """Returns the living child processes."""
    try:
        return {child.pid for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return set()


@pytest.mark.slow
@pytest.mark.parametrize('how', ['exit', 'kill'])
def test_workers_end_with_their_parent_even_if_nobody_closed_them(root, how):
    code = f"""
        import os, signal, sys
        from training.data.dataset import DataConfig, ImageDataset
        from training.data.loader import data_loader
        stream = data_loader(ImageDataset(DataConfig()), start_nimg=0, batch_size=4, seed=0, num_workers=2)
        next(stream)
        print(*stream.worker_pids(), flush=True)
        if {how!r} == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], cwd=root, capture_output=True, timeout=60)
    assert done.returncode == (-signal.SIGKILL if how == 'kill' else 0)
    pids = [int(pid) for pid in done.stdout.split()]
    deadline = time.monotonic() + stretched(10)
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(pids) == 2
    assert not any(map(is_running, pids))


@pytest.mark.slow
def test_workers_outlive_signals_to_the_process_group(root):
    """Ctrl-C and SIGTERM reach the group; workers must continue until the parent has saved and closes them."""
    code = """
        import json, os, signal, time
        from training.data.dataset import DataConfig, ImageDataset
        from training.data.loader import data_loader
        caught = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: caught.append(1))
        dataset = ImageDataset(DataConfig(subset=64))
        with data_loader(dataset, start_nimg=0, batch_size=4, seed=0, num_workers=2) as stream:
            for _ in range(4):
                next(stream)
            os.killpg(0, signal.SIGINT)
            os.killpg(0, signal.SIGTERM)
            for _ in range(40):
                next(stream)
            alive = all(os.path.exists(f'/proc/{pid}') for pid in stream.worker_pids())
        print(json.dumps([len(caught), alive]))
    """
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        cwd=root,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [2, True]
    assert done.stderr == ''
