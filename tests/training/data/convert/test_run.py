"""A whole conversion: gray or color, bad pictures, pictures that differ, and stopping."""

import zipfile

import numpy as np
import pytest

from dnnlib.errors import ConfigError, DataError
from dnnlib.signals import StopRequested, StopSignal
from tests.support.pictures import encoded, fill, hwc, noise, npy, read_set
from training.data.convert.options import ConvertOptions, PictureOptions
from training.data.convert.run import convert_pictures


def convert(tmp_path, pictures, **options):
    """Converts pictures to a.zip, in this process."""
    source = fill(tmp_path / 'in', pictures)
    options = ConvertOptions(source=str(source), dest=str(tmp_path / 'a.zip'), num_workers=1, **options)
    return convert_pictures(options, StopSignal())


def test_gray_stays_gray_and_one_color_picture_makes_all_rgb(tmp_path):
    gray = {f'{i}.png': noise(i, mode='L') for i in range(3)}
    assert convert(tmp_path, gray).shape == (16, 16, 1)
    (tmp_path / 'a.zip').unlink()
    summary = convert(tmp_path, {'3.png': noise(3)})
    assert (summary.shape, summary.kept) == ((16, 16, 3), [0, 1, 2, 3])
    images, _ = read_set(tmp_path / 'a.zip')
    assert np.array_equal(images[0], hwc(noise(0, mode='L')).repeat(3, axis=2))
    assert np.array_equal(images[3], hwc(noise(3)))


def test_bad_pictures_leave_no_gap_and_end_a_strict_run(tmp_path):
    pictures = {'0.png': noise(0), '1.png': b'bad', '2.png': noise(2)}
    summary = convert(tmp_path, pictures)
    assert summary.names == ['00000/img00000000.png', '00000/img00000001.png']
    assert (summary.kept, len(summary.bad)) == ([0, 2], 1)
    (tmp_path / 'a.zip').unlink()
    with pytest.raises(DataError, match=r'1\.png: is not a PNG'):
        convert(tmp_path, pictures, strict=True)
    assert not (tmp_path / 'a.zip').exists()


def test_without_a_usable_picture_there_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match='none of its 2 pictures can be read'):
        convert(tmp_path, {'0.png': b'bad', '1.png': b'bad'})
    assert not (tmp_path / 'a.zip').exists()


def test_pictures_of_another_size_or_kind_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r'1\.png: is 32x16, but those before are 16x16; all must be equal'):
        convert(tmp_path, {'0.png': noise(0), '1.png': noise(1, 32, 16)})
    with pytest.raises(ConfigError, match=r'1\.npy: has 5 channels, but those before have 3'):
        convert(tmp_path, {'0.png': noise(0), '1.npy': npy(np.zeros([16, 16, 5], np.uint8))})


def test_a_seed_chooses_the_pictures_and_keeps_their_order(tmp_path):
    pictures = {f'{i}.png': noise(i) for i in range(9)}
    summary = convert(tmp_path, pictures, max_images=4, shuffle_seed=3)
    assert summary.kept == sorted(np.random.RandomState(3).permutation(9)[:4])
    (tmp_path / 'a.zip').unlink()
    assert convert(tmp_path, pictures, max_images=4).kept == [0, 1, 2, 3]


def test_a_stop_leaves_no_output(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': encoded(noise(0))})
    options = ConvertOptions(
        source=str(source), dest=str(tmp_path / 'a.zip'), num_workers=1, picture=PictureOptions(mode='RGB')
    )

    class Stopped(StopSignal):
        def check(self) -> None:
            raise StopRequested

    with pytest.raises(StopRequested):
        convert_pictures(options, Stopped())
    assert not (tmp_path / 'a.zip').exists()


def test_duplicates_are_left_out_on_request_and_named(tmp_path):
    labels = b'{"labels": [["0.png", 0], ["1.png", 1], ["2.webp", 0], ["3.png", 1]]}'
    pictures = {'0.png': noise(0), '1.png': noise(0), '2.webp': encoded(noise(0), 'WEBP', lossless=True)}
    pictures |= {'3.png': noise(3), 'dataset.json': labels}
    summary = convert(tmp_path, pictures, drop_duplicates=True)
    assert (summary.kept, summary.num_duplicates) == ([0, 3], 2)
    assert [line.strip() for line in summary.lines()][-3:] == [
        'duplicates left out: 2',
        '1.png has the pixels of 0.png, with the label 1 instead of 0',
        '2.webp has the pixels of 0.png',
    ]
    images, content = read_set(tmp_path / 'a.zip')
    assert (len(images), [label for _, label in content['labels']]) == (2, [0, 1])


def test_a_color_picture_after_gray_duplicates_counts_them_once(tmp_path):
    pictures = {'0.png': noise(0, mode='L'), '1.png': noise(0, mode='L'), '2.png': noise(2)}
    summary = convert(tmp_path, pictures, drop_duplicates=True)
    assert (summary.shape[2], summary.kept, summary.num_duplicates) == (3, [0, 2], 1)


def test_the_zip_records_the_names_of_its_pictures_also_when_it_is_converted_again(tmp_path):
    convert(tmp_path, {'b/x.png': noise(0), 'caf\xe9.png': noise(1)})
    again = ConvertOptions(source=str(tmp_path / 'a.zip'), dest=str(tmp_path / 'b.zip'), num_workers=1)
    convert_pictures(again, StopSignal())
    for name in ('a.zip', 'b.zip'):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert [info.comment.decode() for info in archive.infolist()] == ['b/x.png', 'caf\xe9.png', '']
    assert (tmp_path / 'a.zip').read_bytes() == (tmp_path / 'b.zip').read_bytes()


def test_choices_with_a_single_outcome_are_reported(tmp_path):
    summary = convert(tmp_path, {'0.png': noise(0)}, max_images=5, picture=PictureOptions(bits=16))
    lines = [line.strip() for line in summary.lines()][1:]
    assert lines == [
        '--max-images=5 is more than there are: the source has 1 pictures',
        'labels: none in the source (--labels=folders makes a class of each folder)',
        '16 bits were asked for, but every picture has 8',
    ]
