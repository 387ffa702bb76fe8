"""A data set's digest: the same for the same images in the same order, another one for anything else."""

import io
import os
import zipfile
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from training.data.dataset import DataConfig, ImageDataset

LABELS = b'{"labels": [["a.png", 0], ["b.png", 1], ["c.png", 1]]}'


def png(value):
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(file, format='PNG')
    return file.getvalue()


CONTENTS = {'a.png': png(1), 'b.png': png(2), 'c.png': png(3), 'dataset.json': LABELS}


@pytest.fixture
def digest(tmp_path):
    """Writes a zip, always under one name, size and date as far as they can be one, and returns its digest."""

    def of(contents=CONTENTS, *, seed=0, method=zipfile.ZIP_STORED, **changes):
        path = tmp_path / 'a.zip'
        with zipfile.ZipFile(path, 'w', method) as file:
            for name, data in contents.items():
                file.writestr(name, data)
        os.utime(path, (1e9, 1e9))
        return ImageDataset(replace(DataConfig(path=str(path)), **changes), seed).content_digest()

    return of


def test_it_is_that_of_the_images_and_not_of_the_archive(digest, tmp_path):
    first = digest()
    assert len(first) == 64
    assert digest(dict(reversed(CONTENTS.items()))) == digest(method=zipfile.ZIP_DEFLATED) == first
    folder = tmp_path / 'folder'
    folder.mkdir()
    for name, data in CONTENTS.items():
        (folder / name).write_bytes(data)
    assert ImageDataset(DataConfig(path=str(folder))).content_digest() == first


def test_everything_that_decides_images_or_labels_shows(digest):
    digests = [
        digest(),
        digest(CONTENTS | {'b.png': png(9)}),
        digest({'a.png': png(2), 'b.png': png(1), 'c.png': png(3)}),
        digest(CONTENTS | {'d.png': png(4)}),
        digest({name.replace('a.', 'z.'): data for name, data in CONTENTS.items()}),
        digest(mirror=True),
        digest(resolution=8),
        digest(subset=2, seed=0),
        digest(cond=True),
        digest(CONTENTS | {'dataset.json': LABELS.replace(b'1]]', b'2]]')}, cond=True),
    ]
    assert len(set(digests)) == len(digests)


def test_what_is_not_in_use_does_not_show(digest):
    assert digest(subset=3) == digest()
    assert digest(CONTENTS | {'dataset.json': b'{"labels": null}'}) == digest()


def test_files_that_share_bytes_differently_differ(digest):
    # Between two files the sum of the bytes is the same; lengths and names keep them apart.
    whole, tail = png(1) + b'xx', png(2)
    assert digest({'a.png': whole, 'b.png': tail}) != digest({'a.png': whole[:-1], 'b.png': tail + b'x'})
