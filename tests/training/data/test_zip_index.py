"""Index of a zip: the names that are stored, and the faults of an entry, each by its kind."""

import stat
import zipfile

import pytest

from dnnlib.errors import DataError
from training.data.zip_index import MAX_FILE_BYTES, MAX_RATIO, entry_faults, entry_name, read_index

FILE_BYTES = 1000


def entry(name='00000/a.png', **fields):
    """Returns an entry of 100 bytes, stored, at the beginning of the zip."""
    info = zipfile.ZipInfo(name)
    info.file_size = info.compress_size = 100
    info.header_offset = 0
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_the_index_has_every_entry_and_the_size_of_the_file(tmp_path):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.png', b'a')
        archive.writestr('b/c.png', b'bc')
    index = read_index(str(path))
    assert [(entry_name(info), info.file_size) for info in index.entries] == [('a.png', 1), ('b/c.png', 2)]
    assert index.file_bytes == path.stat().st_size
    assert [fault for info in index.entries for fault in entry_faults(info, index.file_bytes)] == []


@pytest.mark.parametrize('content', [None, b'', b'no zip', b'PK\5\6' + b'\xff' * 18])
def test_a_file_without_an_index_is_named(tmp_path, content):
    path = tmp_path / 'a.zip'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=str(path)):
        read_index(str(path))


def test_a_name_is_the_stored_one_with_slashes():
    info = entry('a.png\0.txt')
    assert info.filename == 'a.png'
    assert entry_name(info) == 'a.png\0.txt'
    info.orig_filename = 'a\\b.png'
    assert entry_name(info) == 'a/b.png'


@pytest.mark.parametrize(
    ('fields', 'kind'),
    [
        ({'name': 'a/../../b.png'}, 'unsafe-path'),
        ({'name': '/a.png'}, 'unsafe-path'),
        ({'name': 'C:/a.png'}, 'unsafe-path'),
        ({'name': 'a.png\0'}, 'unsafe-path'),
        ({'name': 'a' * 70_000}, 'unsafe-path'),
        ({'external_attr': (stat.S_IFLNK | 0o777) << 16}, 'link'),
        ({'flag_bits': 1}, 'encrypted'),
        ({'compress_type': zipfile.ZIP_LZMA}, 'compression'),
        ({'file_size': MAX_RATIO * 100 + 1}, 'bomb'),
        ({'header_offset': -1}, 'outside'),
        ({'header_offset': FILE_BYTES - 100}, 'outside'),
    ],
)
def test_each_fault_is_told_once_by_its_kind(fields, kind):
    assert [found for found, _ in entry_faults(entry(**fields), FILE_BYTES)] == [kind]


def test_an_entry_at_the_limits_has_no_fault():
    assert list(entry_faults(entry(file_size=MAX_RATIO * 100), FILE_BYTES)) == []
    size = {'file_size': MAX_FILE_BYTES, 'compress_size': MAX_FILE_BYTES}
    assert list(entry_faults(entry(**size), 2 * MAX_FILE_BYTES)) == []
    size = {'file_size': MAX_FILE_BYTES + 1, 'compress_size': MAX_FILE_BYTES}
    assert [kind for kind, _ in entry_faults(entry(**size), 2 * MAX_FILE_BYTES)] == ['too-large']
