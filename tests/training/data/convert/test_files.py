"""Pictures in a folder or a zip, with the dataset.json at its root."""

import pytest

from dnnlib.errors import DataError
from tests.support.pictures import encoded, noise, write_folder, write_zip
from training.data.convert.files import FilesSource

FILES = {'b/1.bmp': encoded(noise(1), 'BMP'), 'a.png': encoded(noise(0)), 'notes.txt': b'x', '._a.png': b'x'}
LABELS = b'{"labels": [["b/1.bmp", 1], ["a.png", 0]], "classes": ["cat", "dog"]}'


@pytest.mark.parametrize('write', [write_folder, write_zip])
def test_pictures_come_sorted_with_their_labels(tmp_path, write):
    source = FilesSource(write(tmp_path / 'a.zip', {**FILES, 'dataset.json': LABELS}))
    assert [source.name(index) for index in range(len(source))] == ['a.png', 'b/1.bmp']
    assert [source.read(index) for index in range(2)] == [FILES['a.png'], FILES['b/1.bmp']]
    labels = source.read_labels()
    assert (labels.values, labels.classes) == ([0, 1], ['cat', 'dog'])
    assert source.where(1).startswith(str(tmp_path / 'a.zip'))
    source.close()


def test_labels_are_optional_and_faults_name_the_file(tmp_path):
    assert FilesSource(write_folder(tmp_path / 'a', FILES)).read_labels() is None
    source = FilesSource(write_folder(tmp_path / 'b', {**FILES, 'dataset.json': b'{}'}))
    with pytest.raises(DataError, match=r'b: dataset\.json: has no "labels"'):
        source.read_labels()
