"""R11: verify finds every corrupt image in one pass; in training a corrupt image is named and costs nothing."""

import zipfile

import numpy as np
import pytest

from tests.reliability.conftest import EVERYTHING
from tests.reliability.supervisor import Run, fingerprint, flip_bit, truncate
from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import found, look, picture, write_zip
from training.data.verify.survey import VerifyOptions, verify_dataset

pytestmark = pytest.mark.slow

IMAGES = 240
KINDS = ('PNG', 'JPEG', 'WEBP')


def images(kind):
    """Returns small pictures, all different."""
    return {f'{i:03d}.{kind.lower()}': encoded(picture(i, (8, 8)), kind) for i in range(IMAGES)}


@pytest.mark.parametrize('kind', KINDS)
def test_verify_finds_every_flip_and_every_cut_in_a_folder(tmp_path, kind):
    """By the manifest: most flips in a JPEG decode without complaint."""
    files, draw = images(kind), np.random.default_rng(0)
    path = write_folder(tmp_path / 'data', files)
    options = {'workers': 0, 'duplicates': False}
    assert verify_dataset(path, VerifyOptions(**options, write_manifest=True)).findings.number('defect') == 0
    names = sorted(files)
    for name in names[::3]:
        flip_bit(tmp_path / 'data' / name, int(draw.integers(8 * len(files[name]))))
    for name in names[1::3]:
        truncate(tmp_path / 'data' / name, int(draw.integers(len(files[name]))))
    named = {name for group in found(verify_dataset(path, VerifyOptions(**options))).values() for name in group}
    assert named == {*names[::3], *names[1::3]}


def test_verify_finds_every_flip_in_a_zip(tmp_path):
    """By the CRC of each entry."""
    files, draw = images('JPEG'), np.random.default_rng(0)
    path = write_zip(tmp_path / 'data.zip', files)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()[::2]
    for entry in entries:
        begin = entry.header_offset + 30 + len(entry.filename)
        flip_bit(tmp_path / 'data.zip', 8 * begin + int(draw.integers(8 * entry.compress_size)))
    named = {name for group in look(path, duplicates=False).values() for name in group}
    assert named == {entry.filename for entry in entries}


def test_in_training_it_is_named_and_once_mended_no_bit_is_lost(zygote, tmp_path, data, undisturbed):
    """The data are the zip of the undisturbed run as a folder: the same images in the same order."""
    with zipfile.ZipFile(data) as archive:
        archive.extractall(tmp_path / 'data')
    bad = tmp_path / 'data' / '00000' / 'img00000023.png'
    whole = bad.read_bytes()
    truncate(bad, len(whole) - 60)
    struck = Run(zygote, tmp_path / 'run', (f'--data={tmp_path / "data"}', *EVERYTHING, '--workers=1'))
    launch = struck.launch()
    assert launch.wait() == 2
    assert 'img00000023.png' in launch.said().splitlines()[-1]
    bad.write_bytes(whole)
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
