"""manifest.json of a folder: written without defects, and compared with the files."""

import json
import pathlib

import pytest
from PIL import Image

from dnnlib.errors import ConfigError
from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import clean, look, picture, run_verify, unlabelled, write_zip
from training.data.verify.survey import VerifyOptions


def test_manifest_is_written_beside_the_images_when_asked(tmp_path):
    folder = pathlib.Path(write_folder(tmp_path / 'data', clean()))
    run_verify(folder, '--write-manifest')
    manifest = json.loads((folder / 'manifest.json').read_bytes())
    assert sorted(manifest['files']) == [f'{i:02d}.png' for i in range(6)] + ['dataset.json']
    run_verify(folder)


def test_a_manifest_finds_what_decoding_does_not(tmp_path):
    """A flipped bit in a JPEG decodes without complaint."""
    jpeg = encoded(picture(7, (64, 64)), 'JPEG')
    path = pathlib.Path(write_folder(tmp_path / 'a', {**unlabelled({}), 'x.jpg': jpeg}))
    for image in path.glob('*.png'):
        image.write_bytes(encoded(Image.open(image).resize((64, 64), Image.Resampling.NEAREST)))
    assert look(path) == {'no-manifest': [str(path)]}
    assert look(path, write_manifest=True) == {}
    assert look(path) == {}
    flipped = bytearray(jpeg)
    flipped[-30] ^= 1
    (path / 'x.jpg').write_bytes(flipped)
    assert look(path, duplicates=False) == {'changed': ['x.jpg']}
    (path / 'x.jpg').write_bytes(jpeg + b'\0')
    (path / '00.png').unlink()
    (path / 'new.png').write_bytes(encoded(picture(8, (64, 64))))
    assert look(path) == {'changed': ['x.jpg'], 'missing': ['00.png'], 'unlisted': ['new.png']}


def test_a_manifest_is_not_written_over_defects(tmp_path):
    path = pathlib.Path(write_folder(tmp_path / 'a', {**unlabelled({}), 'x.png': b'no image'}))
    assert look(path, write_manifest=True) == {'not-an-image': ['x.png']}
    assert not (path / 'manifest.json').exists()
    for text in (b'{', b'[]', b'{"version": 2}', b'{"version": 1, "files": {"a": 1}}', b'{"version": 1, "files": 3}'):
        (path / 'manifest.json').write_bytes(text)
        assert look(path)['manifest'] == ['manifest.json']


def test_manifest_options_that_do_not_fit(tmp_path):
    with pytest.raises(ConfigError, match='is for folders'):
        look(write_zip(tmp_path / 'a.zip', clean()), write_manifest=True)
    with pytest.raises(ConfigError, match='leave out --max-images'):
        VerifyOptions(write_manifest=True, max_images=3)
    with pytest.raises(ConfigError, match='--near=16: must be between 0 and 15'):
        VerifyOptions(near=16)
