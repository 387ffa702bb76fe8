"""The stream of batches: the same for any number of workers and ranks, and from any position."""

import itertools
import pathlib
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
from tests.support.stored import make_set, noise
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.data.sampler import EpochSampler
from training.data.workers import WorkerDiedError


@pytest.fixture(scope='module')
def dataset() -> ImageDataset:
    return ImageDataset(DataConfig(cond=True, subset=50, resolution=16))


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
    """Workers are spawned on systems without a safe fork, and once CUDA is in use."""
    expected = digest(take(dataset, 3))
    monkeypatch.setattr(training.data.workers, '_context', lambda: torch.multiprocessing.get_context('spawn'))
    assert digest(take(dataset, 3, num_workers=1)) == expected


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize(('shape', 'bits', 'kind'), [((6, 8, 12), 16, 'npy'), ((4, 16, 8), 8, 'png')])
def test_workers_deliver_what_the_data_set_holds(tmp_path, shape, bits, kind, num_workers):
    dataset = ImageDataset(DataConfig(path=make_set(tmp_path / 'a.zip', shape, bits, kind)))
    with data_loader(dataset, start_nimg=0, batch_size=3, seed=0, num_workers=num_workers) as loader:
        images, _ = next(loader)
    assert images.numpy().dtype == f'uint{bits}'
    expected = {noise(i, shape, bits).tobytes() for i in range(3)}
    assert {image.numpy().tobytes() for image in images} == expected
