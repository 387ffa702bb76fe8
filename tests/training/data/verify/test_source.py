"""verify finds what is wrong with a zip or a folder itself, and opens nothing that is unsafe."""

import os
import pathlib
import resource
import stat
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dnnlib.errors import DataError
from tests.support.pictures import encoded, write_folder
from tests.support.verify_data import clean, look, picture, unlabelled, write_zip
from training.data.source import open_source
from training.data.stored_image import STORED_EXTENSIONS
from training.data.verify.findings import KINDS
from training.data.verify.survey import VerifyOptions, verify_dataset

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))


@pytest.mark.parametrize('name', ['../x.png', 'x/../../y.png', '/x.png', 'C:/x.png', '..\\x.png', '../x.txt', '../d/'])
def test_path_traversal(tmp_path, name):
    path = write_zip(tmp_path / 'a.zip', {**clean(), name: b'x' * 50})
    assert look(path) == {'unsafe-path': [name.replace('\\', '/')]}
    assert os.listdir(tmp_path) == ['a.zip']


def test_nul_in_a_name(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {**clean(), 'x_.png': encoded(picture(9))})
    data = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(data.replace(b'x_.png', b'x\0.png'))
    assert look(path) == {'unsafe-path': ['x\\x00.png']}


def test_bomb_of_a_thousand_to_one_is_found_and_not_unpacked(tmp_path):
    size = 96 * 2**20
    path = write_zip(tmp_path / 'a.zip', {**clean(), 'bomb.png': bytes(size)})
    with zipfile.ZipFile(path) as archive:
        assert size / archive.getinfo('bomb.png').compress_size > 1000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    assert look(path) == {'bomb': ['bomb.png']}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10  # kilobytes


def test_entry_that_lies_about_its_size_is_unpacked_no_further(tmp_path):
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', unlabelled({'lie.png': bytes(2**26)})))
    path.write_bytes(path.read_bytes().replace((2**26).to_bytes(4, 'little'), (100_000).to_bytes(4, 'little')))
    tracemalloc.start()
    assert look(path) == {'crc': ['lie.png']}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_entries_that_share_bytes(tmp_path):
    """The second entry points at the first, as in bombs that repeat one stream."""
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', clean()))
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo('03.png')
        start = archive.start_dir
    data = bytearray(path.read_bytes())
    at = data.index(b'03.png', start) - 46
    assert data[at : at + 4] == b'PK\x01\x02'
    assert int.from_bytes(data[at + 42 : at + 46], 'little') == entry.header_offset
    data[at + 42 : at + 46] = (entry.header_offset - 20).to_bytes(4, 'little')
    path.write_bytes(data)
    names = look(path)
    assert names['overlap'] == ['03.png']
    assert set(names) == {'overlap', 'label-without-image'}


def test_link_encryption_compression_and_a_name_twice(tmp_path):
    link = zipfile.ZipInfo('link.png')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    odd = zipfile.ZipInfo('odd.png')
    odd.compress_type = zipfile.ZIP_LZMA
    files = [*clean().items(), (link, b'/etc/passwd'), (odd, encoded(picture(7))), ('00.png', encoded(picture(8)))]
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', [*files, ('key.png', encoded(picture(9)))]))
    data = bytearray(path.read_bytes())
    at = data.rindex(b'key.png') - 46
    data[at + 8] |= 1  # the index's flag of encryption
    path.write_bytes(data)
    expected = {'link': ['link.png'], 'encrypted': ['key.png'], 'compression': ['odd.png'], 'same-name': ['00.png']}
    assert look(path) == expected


def test_entry_that_claims_to_be_huge(tmp_path):
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', {**clean(), 'huge.png': encoded(NOISE)}))
    data = bytearray(path.read_bytes())
    at = data.rindex(b'huge.png') - 46
    data[at + 24 : at + 28] = (2**30).to_bytes(4, 'little')
    path.write_bytes(data)
    assert look(path) == {'too-large': ['huge.png'], 'bomb': ['huge.png']}


def test_flipped_bit_in_a_zip(tmp_path):
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', unlabelled({'x.jpg': encoded(picture(7), 'JPEG')})))
    with zipfile.ZipFile(path) as archive:
        places = {name: archive.getinfo(name).header_offset + 100 for name in ('01.png', 'x.jpg')}
    data = bytearray(path.read_bytes())
    for place in places.values():
        data[place] ^= 4
    path.write_bytes(data)
    assert look(path) == {'crc': ['01.png', 'x.jpg']}


def test_zip_cut_short_and_file_that_is_no_zip(tmp_path):
    path = pathlib.Path(write_zip(tmp_path / 'a.zip', clean()))
    path.write_bytes(path.read_bytes()[:-40])
    assert look(path) == {'archive': [str(path)]}
    path.write_bytes(b'hello')
    assert look(path) == {'archive': [str(path)]}


def test_no_images(tmp_path):
    assert look(write_zip(tmp_path / 'a.zip', {'a.txt': b''})) == {
        'archive': [str(tmp_path / 'a.zip')],
        'other-file': ['a.txt'],
    }
    with pytest.raises(DataError, match='no such file or folder'):
        look(tmp_path / 'none')


def test_hidden_and_other_files_are_notes(tmp_path):
    more = {'__MACOSX/._00.png': b'x', '.DS_Store': b'x', 'readme.txt': b'x'}
    expected = {'hidden': ['.DS_Store', '__MACOSX/._00.png'], 'other-file': ['readme.txt']}
    for path in (write_zip(tmp_path / 'a.zip', {**clean(), **more}), write_folder(tmp_path / 'a', {**clean(), **more})):
        names = look(path)
        assert {kind: sorted(listed) for kind, listed in names.items()} == expected
        assert all(KINDS[kind].severity == 'note' for kind in names)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(where=st.integers(0, 10**6), what=st.binary(min_size=1, max_size=6))
def test_a_zip_that_was_overwritten_anywhere_is_reported_or_reads_right(tmp_path_factory, where, what):
    path = tmp_path_factory.mktemp('fuzz') / 'a.zip'
    files = clean(2)
    write_zip(path, files)
    data = bytearray(path.read_bytes())
    where %= len(data)
    data[where : where + len(what)] = what
    path.write_bytes(data)
    report = verify_dataset(str(path), VerifyOptions(workers=0, duplicates=False))
    if not report.findings.counts:
        contents = {report.source.name(i): report.source.read(i) for i in range(len(report.source))}
        report.source.close()
        assert {**contents, 'dataset.json': report.source.read_labels()} == files
        report.source.close()


def test_what_is_no_regular_file_in_a_folder(tmp_path):
    path = pathlib.Path(write_folder(tmp_path / 'a', clean()))
    os.mkfifo(path / 'pipe.png')  # reading it would wait for ever
    (path / 'gone.png').symlink_to(tmp_path / 'nowhere.png')
    (path / 'loop').symlink_to(path)
    with open(path / 'huge.png', 'wb') as file:
        file.truncate(2**28 + 1)  # sparse
    names = look(path)
    assert {kind: sorted(listed) for kind, listed in names.items()} == {
        'unreadable': ['gone.png', 'pipe.png'],
        'too-large': ['huge.png'],
        'linked-folder': ['loop'],
    }


def test_a_file_that_training_ignores_is_no_defect(tmp_path):
    path = pathlib.Path(write_folder(tmp_path / 'a', clean()))
    for name in ('gone.txt', '.gone.png'):
        (path / name).symlink_to(tmp_path / 'nowhere')
    for name in ('pipe', '.pipe.png'):
        os.mkfifo(path / name)
    with open(path / 'film.mp4', 'wb') as file:
        file.truncate(2**28 + 1)  # sparse
    assert {kind: sorted(listed) for kind, listed in look(path).items()} == {
        'other-file': ['film.mp4', 'gone.txt', 'pipe'],
        'hidden': ['.gone.png', '.pipe.png'],
    }


def test_two_spellings_of_a_name_in_a_zip_are_one_name_as_for_training(tmp_path):
    path = write_zip(tmp_path / 'a.zip', [*clean().items(), ('./00.png', encoded(picture(8)))])
    assert look(path) == {'same-name': ['./00.png']}
    with pytest.raises(DataError, match='more than once'):
        open_source(path, STORED_EXTENSIONS)
