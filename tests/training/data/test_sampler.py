"""The order of the data, and the loader that follows it."""

import hashlib
import itertools
import json
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import numpy as np
import pytest
import torch

import training.data.workers
from dnnlib.errors import ConfigError, DataError
from tests.support.forks import is_running
from tests.support.patience import stretched
from tests.support.pictures import digest
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.data.sampler import EpochSampler
from training.data.workers import WorkerDiedError


@pytest.fixture(scope='module')
def dataset() -> ImageDataset:
    return ImageDataset(DataConfig(cond=True, subset=50, resolution=16))


def test_every_epoch_is_another_permutation():
    sampler = EpochSampler(100, seed=3)
    epochs = sampler.indices(0, 500).reshape(5, 100)
    assert (np.sort(epochs, axis=1) == np.arange(100)).all()
    assert len({epoch.tobytes() for epoch in epochs}) == 5


def test_order_is_frozen_for_ever():
    """A resumed run must meet the order it began with, whatever NumPy, Python or this project have become."""
    assert EpochSampler(10, seed=0).indices(0, 20).tolist() == [
        0,
        2,
        9,
        6,
        7,
        3,
        8,
        4,
        1,
        5,
        6,
        4,
        5,
        9,
        1,
        0,
        2,
        8,
        7,
        3,
    ]
    digest = hashlib.sha256(EpochSampler(4096, seed=7).indices(123, 20000).astype('<i8').tobytes()).hexdigest()
    assert digest[:16] == '6151522142ee2097'


def test_index_is_a_pure_function_of_position():
    sequence = EpochSampler(7, seed=1).indices(0, 100)
    sampler = EpochSampler(7, seed=1)
    for position in np.random.RandomState(0).permutation(100):
        assert sampler.index(int(position)) == sequence[position]
    for start, count in [(0, 0), (6, 2), (3, 40), (99, 1)]:
        assert sampler.indices(start, count).tolist() == sequence[start : start + count].tolist()


def test_seeds_give_other_orders_and_negative_ones_a_message():
    assert EpochSampler(100, seed=0).indices(0, 100).tolist() != EpochSampler(100, seed=1).indices(0, 100).tolist()
    with pytest.raises(ConfigError, match='--seed=-1'):
        EpochSampler(100, seed=-1)


@pytest.mark.parametrize('world', [1, 2, 4])
def test_ranks_together_see_the_one_global_sequence(world):
    sampler = EpochSampler(10, seed=5)
    for nimg in (0, 8, 16):
        joined = np.concatenate([sampler.batch_indices(nimg, 8, rank, world) for rank in range(world)])
        assert joined.tolist() == sampler.indices(nimg, 8).tolist()


def test_batches_begin_anywhere():
    sampler = EpochSampler(10, seed=5)
    whole = list(itertools.islice(sampler.batches(0, 4), 6))
    late = list(itertools.islice(sampler.batches(12, 4), 3))
    assert [batch.tolist() for batch in late] == [batch.tolist() for batch in whole[3:]]


def test_batch_that_ranks_cannot_share_is_refused(dataset):
    with pytest.raises(ConfigError, match='--batch=10: must be a multiple of the number of ranks, 4'):
        data_loader(dataset, start_nimg=0, batch_size=10, seed=0, num_workers=0, world=4)


def take(dataset: ImageDataset, count: int, **options: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    options = {'start_nimg': 0, 'batch_size': 8, 'seed': 2, 'num_workers': 0} | options
    with data_loader(dataset, **options) as stream:
        return list(itertools.islice(stream, count))


def test_loader_yields_what_the_sampler_says(dataset):
    images, labels = take(dataset, 1, start_nimg=96)[0]
    indices = EpochSampler(50, seed=2).indices(96, 8)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.float32)
    assert np.array_equal(images.numpy(), np.stack([dataset.image(int(i)) for i in indices]))
    assert np.array_equal(labels.numpy(), dataset.labels(indices))


def test_stream_does_not_depend_on_the_number_of_workers(dataset):
    assert len({digest(take(dataset, 12, start_nimg=8, num_workers=workers)) for workers in (0, 1, 3)}) == 1


def test_stream_goes_on_from_any_position(dataset):
    whole = take(dataset, 10, num_workers=1)
    assert digest(whole[6:]) == digest(take(dataset, 4, start_nimg=48, num_workers=1))


def test_ranks_share_the_batches_of_one_process(dataset):
    whole = take(dataset, 4)
    ranks = [take(dataset, 4, rank=rank, world=2) for rank in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(batch[0], torch.cat([part[0] for part in parts]))
        assert torch.equal(batch[1], torch.cat([part[1] for part in parts]))


def test_loader_leaves_the_global_generator_alone(dataset):
    before = torch.get_rng_state()
    take(dataset, 2, num_workers=1)
    assert torch.equal(before, torch.get_rng_state())


def test_unconditional_labels_are_zero_wide():
    unconditional = ImageDataset(DataConfig(subset=8))
    images, labels = take(unconditional, 1, num_workers=1)[0]
    assert (images.shape, labels.shape) == ((8, 3, 64, 64), (8, 0))


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_image_reaches_the_caller_as_one_line_with_its_name(tmp_path, workers):
    good = (pathlib.Path(DataConfig().source), '00000/img00000000.png')
    with zipfile.ZipFile(good[0]) as archive:
        data = archive.read(good[1])
    with zipfile.ZipFile(tmp_path / 'set.zip', 'w') as archive:
        for i in range(8):
            archive.writestr(f'{i}.png', data if i != 5 else data[:1000])
    broken = ImageDataset(DataConfig(path=str(tmp_path / 'set.zip')))
    with pytest.raises(DataError, match=r'set\.zip: 5\.png: is cut short') as caught:
        take(broken, 1, num_workers=workers)
    assert '\n' not in str(caught.value)


def test_close_ends_the_workers_at_once_and_may_be_repeated(dataset):
    stream = data_loader(dataset, start_nimg=0, batch_size=8, seed=0, num_workers=2)
    next(stream)
    pids = stream.worker_pids()
    start = time.monotonic()
    stream.close()
    stream.close()
    assert time.monotonic() - start < stretched(2)
    assert not any(map(is_running, pids))
    with pytest.raises(RuntimeError, match='closed'):
        next(stream)


def test_worker_with_a_bug_says_so(dataset, monkeypatch, capfd):
    monkeypatch.setattr(ImageDataset, 'image', lambda self, index: 1 / 0)
    with (
        data_loader(dataset, start_nimg=0, batch_size=8, seed=0, num_workers=1) as stream,
        pytest.raises(WorkerDiedError, match='ended with exit code 1; its traceback is above'),
    ):
        next(stream)
    assert 'ZeroDivisionError' in capfd.readouterr().err


@pytest.mark.slow
def test_spawned_workers_give_the_same_stream(dataset, monkeypatch):
    """What happens on systems without a safe fork, and once CUDA is in use."""
    expected = digest(take(dataset, 3))
    monkeypatch.setattr(training.data.workers, '_context', lambda: torch.multiprocessing.get_context('spawn'))
    assert digest(take(dataset, 3, num_workers=1)) == expected


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
    """Ctrl-C and SIGTERM reach the group; workers must go on until the parent has saved and closes them."""
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
