"""Folders and zips of images: damaged, unsafe and changing ones are one clear line."""

import os
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import DataError
from tests.support.pictures import data_refusal, png, write_zip
from training.data.dataset import DataConfig, ImageDataset
from training.data.labels import parse_labels
from training.data.source import open_source


def test_missing_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data_refusal(DataError, 'no.zip') == f'no.zip: no such file or folder (looked for {tmp_path}/no.zip)'
    assert data_refusal(DataError, str(tmp_path / 'no.zip')) == f'{tmp_path}/no.zip: no such file or folder'


@pytest.mark.parametrize('data', [b'', b'hello', png()])
def test_file_that_is_no_zip(tmp_path, data):
    (tmp_path / 'a.zip').write_bytes(data)
    assert 'is neither a folder nor a zip file' in data_refusal(DataError, tmp_path / 'a.zip')


def test_zip_cut_short(tmp_path):
    path = tmp_path / 'a.zip'
    write_zip(path, {f'{i}.png': png() for i in range(9)})
    path.write_bytes(path.read_bytes()[:-100])
    assert 'the zip is cut short' in data_refusal(DataError, path)


def test_no_images(tmp_path):
    assert 'holds no images; expected files ending in .png .jpg' in data_refusal(DataError, tmp_path)
    assert 'holds no images' in data_refusal(DataError, write_zip(tmp_path / 'a.zip', {}))
    assert 'holds no images' in data_refusal(DataError, write_zip(tmp_path / 'b.zip', {'a.txt': b''}))


@pytest.mark.parametrize('name', ['../a.png', 'x/../../a.png', '/a.png', 'C:/a.png', '..\\a.png'])
def test_zip_path_that_leads_out(tmp_path, name):
    path = write_zip(tmp_path / 'a.zip', {name: png()})
    assert 'has a path that leads out of the zip' in data_refusal(DataError, path)


def test_zip_bomb(tmp_path):
    path = write_zip(tmp_path / 'a.zip', {'a.png': bytes(2**20)}, zipfile.ZIP_DEFLATED)
    assert 'a.png: grows more than 200 times when unpacked' in data_refusal(DataError, path)


def test_zip_entry_that_lies_about_its_size(tmp_path):
    """The index promises 100 bytes, the data unpack to a megabyte: no more than the promise is ever unpacked."""
    path = tmp_path / 'a.zip'
    write_zip(path, {'a.png': bytes(2**20)}, zipfile.ZIP_DEFLATED)
    path.write_bytes(path.read_bytes().replace((2**20).to_bytes(4, 'little'), (100).to_bytes(4, 'little')))
    assert 'a.png: is damaged' in data_refusal(DataError, path)


def test_huge_files_are_not_read(tmp_path):
    with open(tmp_path / 'a.png', 'wb') as file:
        file.truncate(2**28 + 1)  # sparse
    assert 'is larger than 256 MB, the most that one file may have' in data_refusal(DataError, tmp_path)


def test_zip_links_encryption_odd_methods_and_doubles(tmp_path):
    link = zipfile.ZipInfo('a.png')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / 'link.zip', 'w') as archive:
        archive.writestr(link, '/etc/passwd')
    assert 'a.png: is a symbolic link' in data_refusal(DataError, tmp_path / 'link.zip')
    path = write_zip(tmp_path / 'lzma.zip', {'a.png': png()}, zipfile.ZIP_LZMA)
    assert 'a.png: has compression method 14; expected stored or deflated' in data_refusal(DataError, path)
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('x/a.png', png())
        archive.writestr('x\\a.png', png())
    assert 'x/a.png: is in the zip more than once' in data_refusal(DataError, tmp_path / 'a.zip')


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_flipped_bit_in_a_zip(tmp_path, method):
    path = tmp_path / 'a.zip'
    write_zip(path, {f'{i}.png': png() for i in range(2)}, method)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.infolist()[1].header_offset + 100] ^= 4
    path.write_bytes(data)
    assert '1.png: is damaged' in data_refusal(DataError, path, 1)


def test_zip_overwritten_while_in_use(tmp_path):
    path = tmp_path / 'a.zip'
    dataset = ImageDataset(DataConfig(path=write_zip(path, {'a.png': png(), 'b.png': png()})))
    dataset.close()
    path.write_bytes(b'x' * 2000)
    with pytest.raises(DataError, match=r'b\.png: is not where the index of the zip says'):
        dataset.image(1)
    path.unlink()
    dataset.close()
    with pytest.raises(DataError, match=r'a\.zip: can no longer be opened'):
        dataset.image(1)


def test_file_that_vanishes_from_a_folder(tmp_path):
    for name in 'ab':
        (tmp_path / f'{name}.png').write_bytes(png())
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    (tmp_path / 'b.png').unlink()
    with pytest.raises(DataError, match=r'b\.png: is missing; was it moved or deleted while in use'):
        dataset.image(1)


def test_folder_in_place_of_an_image(tmp_path):
    (tmp_path / 'a.png').write_bytes(png())
    dataset = ImageDataset(DataConfig(path=str(tmp_path)))
    (tmp_path / 'a.png').unlink()
    os.mkdir(tmp_path / 'a.png')
    with pytest.raises(DataError, match=r'a\.png: cannot be read'):
        dataset.image(0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(where=st.integers(0, 10**6), what=st.binary(min_size=1, max_size=8))
def test_a_damaged_zip_reads_right_or_names_itself(tmp_path_factory, where, what):
    """Whatever bytes are overwritten: the pixels come out as they were, or a DataError does."""
    path = tmp_path_factory.mktemp('fuzz') / 'a.zip'
    write_zip(path, {'a.png': png(), 'b.png': png(), 'dataset.json': b'{"labels": [["a.png", 0], ["b.png", 1]]}'})
    data = bytearray(path.read_bytes())
    where %= len(data)
    data[where : where + len(what)] = what
    path.write_bytes(data)
    contents, message = [png()], str(path)
    try:
        source = open_source(str(path), ('.png',))
        contents = [source.read(i) for i in range(len(source))]
        parse_labels(
            source.read_labels() or b'{"labels": null}', [source.name(i) for i in range(len(source))], str(path)
        )
    except DataError as error:
        message = str(error)
    assert str(path) in message
    assert set(contents) == {png()}
