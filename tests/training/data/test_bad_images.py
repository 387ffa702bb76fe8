"""Promise R11: an unusable image is an error with its name, or, with --bad-images=skip, replaced by another."""

import zipfile

import numpy as np
import pytest

from dnnlib.errors import DataError
from tests.support.pictures import digest
from tests.support.runs import TINY, call, make_zip, only_run
from training.data.bad_images import BadImages, max_bad, read_one
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader


def corrupt(path, *numbers):
    """Flips a bit of the data of entries of a zip, past the PNG's header."""
    blob = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for number in numbers:
            blob[archive.getinfo(f'00000/img{number:08d}.png').header_offset + 120] ^= 16
    path.write_bytes(blob)
    return path


@pytest.fixture
def data(tmp_path):
    """40 images in 3 classes, of which numbers 7, 8 and 20 are damaged."""
    return corrupt(make_zip(tmp_path / 'tiny.zip'), 7, 8, 20)


def take(dataset, path, warnings, count=15, **options):
    bad = BadImages(path, dataset, warnings.append)
    options = {'start_nimg': 0, 'batch_size': 8, 'seed': 0, 'num_workers': 0} | options
    with data_loader(dataset, bad_images=bad, **options) as stream:
        return [next(stream) for _ in range(count)], stream.faults()


def test_the_next_image_that_can_be_used_stands_in_with_its_own_label(data):
    dataset = ImageDataset(DataConfig(path=str(data), cond=True))
    for index, used in ((6, 6), (7, 9), (8, 9), (20, 21)):
        pixels, actual, faults = read_one(dataset, index, 3)
        assert actual == used
        assert np.array_equal(pixels, dataset.image(used))
        assert list(faults) == [f'00000/img{number:08d}.png' for number in range(index, used)]
    order = data_loader(dataset, start_nimg=0, batch_size=8, seed=0, num_workers=0)
    indices = np.concatenate([next(order._batches) for _ in range(5)])  # one epoch
    used = [{7: 9, 8: 9, 20: 21}.get(int(index), int(index)) for index in indices]
    batches, _ = take(dataset, data.with_name('bad.txt'), [], count=5)
    assert np.array_equal(np.concatenate([c.numpy() for _, c in batches]), dataset.labels(used))
    assert np.array_equal(np.concatenate([img.numpy() for img, _ in batches]), [dataset.image(i) for i in used])


def test_the_last_image_is_followed_by_the_first(tmp_path):
    dataset = ImageDataset(DataConfig(path=str(corrupt(make_zip(tmp_path / 'tiny.zip'), 39))))
    assert read_one(dataset, 39, 3)[1] == 0


def test_flips_stand_in_for_flips(data):
    dataset = ImageDataset(DataConfig(path=str(data), mirror=True))
    pixels, actual, faults = read_one(dataset, 47, 3)
    assert actual == 49
    assert np.array_equal(pixels, dataset.image(9)[:, :, ::-1])
    assert list(faults) == ['00000/img00000007.png', '00000/img00000008.png']


def test_the_stream_is_the_same_for_any_number_of_workers_and_from_any_position(data, tmp_path):
    dataset = ImageDataset(DataConfig(path=str(data), cond=True))
    whole, _ = take(dataset, tmp_path / 'a.txt', [])
    for workers in (1, 2):
        assert digest(take(dataset, tmp_path / f'{workers}.txt', [], num_workers=workers)[0]) == digest(whole)
    late, _ = take(dataset, tmp_path / 'b.txt', [], count=5, start_nimg=80)
    assert digest(late) == digest(whole[10:])


@pytest.mark.parametrize('workers', [0, 2])
def test_each_bad_image_is_told_once_by_name_over_epochs_and_sittings(data, tmp_path, workers):
    dataset = ImageDataset(DataConfig(path=str(data)))
    path, warnings = tmp_path / 'bad-images.txt', []
    _, faults = take(dataset, path, warnings, num_workers=workers)  # three epochs
    assert faults['Data/bad_images'] == 3
    for number in (7, 8, 20):
        (told,) = [text for text in warnings if f'img{number:08d}.png' in text]
        assert 'is damaged (its CRC does not match)' in told
    assert len(path.read_text().splitlines()) == 3
    again = []
    _, faults = take(dataset, path, again, num_workers=workers)
    assert again == []
    assert faults['Data/bad_images'] == 3


def test_one_more_than_is_allowed_ends_the_run_with_a_list(tmp_path):
    data = corrupt(make_zip(tmp_path / 'tiny.zip'), 3, 13, 23, 33)
    dataset, path = ImageDataset(DataConfig(path=str(data))), tmp_path / 'bad-images.txt'
    with pytest.raises(DataError, match=r'4 of 40 images cannot be used, more than the 3 that --bad-images=skip'):
        take(dataset, path, [])
    assert len(path.read_text().splitlines()) == 4


def test_a_row_of_bad_images_is_not_searched_without_end(tmp_path):
    dataset = ImageDataset(DataConfig(path=str(corrupt(make_zip(tmp_path / 'tiny.zip'), *range(1, 40)))))
    with pytest.raises(DataError, match=r'img00000004\.png: is damaged'):
        read_one(dataset, 1, max_bad(40))


def test_a_thousandth_may_be_bad_and_three_of_a_small_set():
    assert [max_bad(n) for n in (1, 1000, 3999, 4000, 70_000)] == [3, 3, 3, 4, 70]


@pytest.mark.slow
def test_a_run_skips_and_names_bad_images_only_with_the_option(data, tmp_path):
    flags = (f'--data={data}', '--kimg=1', *TINY, '--resolution=8', '--batch=32', '--batch-gpu=32')
    refused = call(tmp_path / 'error', *flags, check=False)
    assert refused.returncode == 2
    assert 'is damaged (its CRC does not match)' in refused.stderr
    done = call(tmp_path / 'skip', *flags, '--bad-images=skip')
    folder = only_run(tmp_path / 'skip')
    for number in (7, 8, 20):
        name = f'00000/img{number:08d}.png'
        assert done.stdout.count(f'{name}: is damaged') == 1
        assert (folder / 'log.txt').read_text().count(f'{name}: is damaged') == 1
        assert (folder / 'bad-images.txt').read_text().count(f'{name}"') == 1
