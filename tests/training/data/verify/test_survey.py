"""verify finds all planted defects together, and nothing in a clean data set."""

import functools
import os

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import UserError
from tests.support.pictures import encoded, npy, write_folder
from tests.support.verify_data import NOISE, clean, flipped_png, found, look, picture, words, write_zip
from training.data.dataset import EMBEDDED
from training.data.pool import map_in_order
from training.data.verify import duplicates
from training.data.verify.survey import VerifyOptions, verify_dataset


def test_a_clean_set_has_no_findings(tmp_path):
    assert look(write_zip(tmp_path / 'a.zip', clean())) == {}
    assert look(write_folder(tmp_path / 'a', clean())) == {}


def test_two_hundred_of_the_embedded_images_have_no_defects():
    report = verify_dataset(str(EMBEDDED), VerifyOptions(max_images=200, workers=0))
    assert report.findings.number('defect') == 0
    assert set(found(report)) <= {'sample', 'near-duplicate'}  # its drawings share their parts
    assert report.sizes == {(64, 64): 200}
    assert report.forms == {(3, 8): 200}
    assert sum(report.labels.counts.values()) == report.num_files == 4096
    assert sum(report.brightness) == 200


def test_all_planted_together_are_all_found(tmp_path):
    """Nothing hides behind the first."""
    planted = {
        'cut.png': encoded(NOISE)[:-20],
        'flip.png': flipped_png(),
        'wide.png': encoded(picture(30, (32, 16))),
        'grey.png': encoded(picture(31).convert('L')),
        'palette.png': encoded(picture(32).convert('P')),
        'copy.png': encoded(picture(0), compress_level=1),
        '../out.png': encoded(picture(33)),
        'bomb.png': bytes(2**20),
    }
    assert look(write_zip(tmp_path / 'a.zip', {**clean(), **planted})) == {
        'unsafe-path': ['../out.png'],
        'bomb': ['bomb.png'],
        'truncated': ['cut.png'],
        'damaged': ['flip.png'],
        'palette': ['palette.png'],
        'wrong-size': ['wide.png'],
        'wrong-channels': ['grey.png'],
        'exact-duplicate': ['copy.png'],
        'image-without-label': ['copy.png', 'cut.png', 'flip.png', 'grey.png', 'palette.png', 'wide.png'],
    }


@pytest.mark.parametrize(
    ('size', 'command'),
    [((17, 17), '--resolution=16x16'), ((400, 5), '--resolution=128x8'), ((130, 66), '--resolution=128x64')],
)
def test_size_that_cannot_be_trained_on_comes_with_the_command_that_mends_it(tmp_path, size, command):
    path = write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(picture(i, size)) for i in range(3)})
    report = verify_dataset(path, VerifyOptions(workers=0))
    assert found(report) == {'untrainable-size': [path]}
    assert f'python dataset_tool.py --source={path} --dest={path[:-4]}-' in words(report, 'untrainable-size')
    assert words(report, 'untrainable-size').endswith(f'{command} --transform=center-crop')


@pytest.mark.parametrize(
    ('files', 'form'),
    [
        ([encoded(picture(i).convert('RGBA')) for i in range(3)], (4, 8)),
        ([encoded(picture(i).convert('LA')) for i in range(3)], (2, 8)),
        ([encoded(picture(i, (24, 16))) for i in range(3)], (3, 8)),
    ],
)
def test_alpha_and_other_shapes_that_all_share_are_no_defects(tmp_path, files, form):
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(files)}), VerifyOptions(workers=0)
    )
    assert found(report) == {}
    assert report.forms == {form: 3}


def test_16_bit_grey_and_arrays_of_many_channels_are_no_defects(tmp_path):
    random = np.random.RandomState(0)
    grey = [encoded(Image.fromarray(random.randint(0, 65536, [16, 16]).astype(np.uint16))) for _ in range(3)]
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(grey)}), VerifyOptions()
    )
    assert (found(report), report.forms) == ({}, {(1, 16): 3})
    arrays = [npy(random.randint(0, 65536, [16, 24, 6]).astype('>u2')) for _ in range(3)]
    report = verify_dataset(
        write_zip(tmp_path / 'b.zip', {f'{i}.npy': data for i, data in enumerate(arrays)}), VerifyOptions()
    )
    assert (found(report), report.forms, report.sizes) == ({}, {(6, 16): 3}, {(16, 24): 3})


def test_statistics_are_those_of_the_pixels(tmp_path):
    images = [picture(i) for i in range(5)]
    report = verify_dataset(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(im) for i, im in enumerate(images)}),
        VerifyOptions(workers=0),
    )
    pixels = np.stack([np.asarray(image) for image in images]) / 255  # [N, H, W, C]
    np.testing.assert_allclose(report.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(report.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9)


def test_processes_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(duplicates, 'MIN_JOBS', 1)
    files = {**clean(40), 'x.png': b'no image', 'y.png': encoded(picture(3))}
    path = write_zip(tmp_path / 'a.zip', files)
    alone, together = (verify_dataset(path, VerifyOptions(workers=workers)) for workers in (0, 2))
    assert found(alone) == found(together)
    assert (alone.mean, alone.std, alone.groups) == (together.mean, together.std, together.groups)


def die(source: object, position: int) -> None:
    os._exit(1)


def test_a_process_that_dies_is_reported(tmp_path):
    source = verify_dataset(write_zip(tmp_path / 'a.zip', clean()), VerifyOptions(workers=0)).source
    with pytest.raises(UserError, match='a worker process died'):
        list(map_in_order(functools.partial(die, source), range(3), 2))
