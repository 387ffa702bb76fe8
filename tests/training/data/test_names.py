"""Names of files: one form for comparison, one encoding in every locale, one place of dataset.json."""

import os
import subprocess
import sys
import unicodedata
import zipfile

import pytest

from tests.support.pictures import encoded, fill, noise
from training.data.names import (
    common_folder,
    decode_name,
    encode_names,
    is_too_long,
    labels_root,
    name_from_disk,
    normal_name,
    path_on_disk,
)


@pytest.mark.parametrize('name', ['a/b.png', './a/b.png', 'a//b.png', 'a/./b.png', 'a\\b.png', 'x/../a/b.png'])
def test_names_of_one_file_have_one_form(name):
    assert normal_name(name) == 'a/b.png'


def test_composed_and_decomposed_letters_are_equal():
    assert normal_name(unicodedata.normalize('NFD', 'bär.png')) == normal_name('bär.png')


def test_any_bytes_of_a_name_survive_a_round_trip():
    for raw in (b'a.png', b'b\xc3\xa4r.png', b'caf\xe9.png'):
        name = name_from_disk(os.fsdecode(raw))
        assert os.fsencode(path_on_disk('x', name)) == b'x/' + raw
        assert decode_name(encode_names([name])[0]) == name
    assert encode_names(['\ud800.png']).tolist() == [b'\xed\xa0\x80.png']  # half of a pair, as JSON can hold it


def test_the_length_is_counted_in_bytes():
    assert not is_too_long('ä' * 512)
    assert is_too_long('ä' * 513)


@pytest.mark.parametrize(
    ('names', 'folder'),
    [
        (['a.png'], ''),
        (['x/a.png'], 'x/'),
        (['x/a.png', 'x/b/c.png'], 'x/'),
        (['x/a.png', 'xy/b.png'], ''),
        (['x/y/ab.png', 'x/y/ac.png'], 'x/y/'),
        ([], ''),
    ],
)
def test_common_folder(names, folder):
    assert common_folder(names) == folder


@pytest.mark.parametrize(
    ('labels', 'names', 'root'),
    [
        (['dataset.json'], ['x/a.png'], ''),
        (['x/dataset.json'], ['x/a.png', 'x/y/b.png'], 'x/'),
        (['x/dataset.json', 'dataset.json'], ['x/a.png'], ''),
        (['x/dataset.json'], ['x/a.png', 'b.png'], None),
        (['x/y/dataset.json', 'x/dataset.json'], ['x/y/a.png'], 'x/'),
        ([], ['a.png'], None),
    ],
)
def test_the_outermost_folder_of_all_images_with_labels_is_the_root(labels, names, root):
    assert labels_root(labels, names) == root


@pytest.mark.slow
def test_umlauts_work_in_a_locale_without_them(tmp_path):
    """A folder, its labels, a list and verify, in a process whose encoding is ASCII."""
    folder = tmp_path / 'däten'
    labels = '{"labels": [["bär.png", 0], ["gnü.png", 1]]}'.encode()
    fill(folder, {'bär.png': noise(0), 'gnü.png': noise(1), 'dataset.json': labels})
    fill(tmp_path, {'list.csv': 'däten/bär.png,Bär\ndäten/gnü.png,Gnü\n'.encode()})
    with zipfile.ZipFile(tmp_path / 'zip.zip', 'w') as archive:
        archive.writestr('bär.png', encoded(noise(0)))
    env = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PATH': os.environ['PATH'], 'HOME': '/'}
    for number, arguments in enumerate(
        (
            ['--source', folder, '--dest', tmp_path / 'a.zip'],
            ['--source', tmp_path / 'list.csv', '--dest', tmp_path / 'b.zip'],
            ['--source', tmp_path / 'zip.zip', '--dest', tmp_path / 'c.zip'],
            ['verify', folder],
        )
    ):
        command = [sys.executable, 'dataset_tool.py', *map(str, arguments)]
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == 0, (number, done.stderr[-500:])
        assert b'bad pictures' not in done.stdout
