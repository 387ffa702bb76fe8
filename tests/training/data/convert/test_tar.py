"""Pictures in a tar: their order, their labels, and damaged or hostile archives."""

import json
import tarfile

import numpy as np
import pytest

from tests.support.pictures import encoded, hwc, noise, read_set, run, source_refusal, write_tar
from training.data.convert.labels import choose_labels
from training.data.convert.sources import open_pictures


@pytest.mark.parametrize('name', ['a.tar', 'a.tar.gz', 'a.tgz'])
def test_tar_in_its_own_order_with_labels(tmp_path, name):
    files = {f'./{i}/p.png': encoded(noise(i)) for i in (2, 0, 1)}
    files['./dataset.json'] = json.dumps({'labels': [[f'{i}/p.png', i] for i in range(3)]}).encode()
    files['notes.txt'] = b'not a picture'
    files['._2.png'] = b'left by a Mac'
    path = write_tar(tmp_path / name, files, links=('link.png',))
    run('--source', path, '--dest', tmp_path / 'a.zip')
    images, content = read_set(tmp_path / 'a.zip')
    assert len(images) == 3
    for number, seed in enumerate((2, 0, 1)):
        assert np.array_equal(images[number], hwc(noise(seed)))
        assert content['labels'][number][1] == seed
    source = open_pictures(str(path))
    assert choose_labels(source, 'folders').classes == ['0', '1', '2']
    source.close()


def test_tar_that_is_cut_short_or_none(tmp_path):
    path = write_tar(tmp_path / 'a.tar.gz', {f'{i}.png': encoded(noise(i)) for i in range(9)})
    data = path.read_bytes()
    for name, part in (('a', data[: len(data) // 2]), ('b', b''), ('c', b'hello' * 300)):
        (tmp_path / f'{name}.tar.gz').write_bytes(part)
        assert 'is not a tar, or is cut short' in source_refusal(tmp_path / f'{name}.tar.gz')


def test_tar_bombs_and_lies(tmp_path):
    bomb = write_tar(tmp_path / 'bomb.tar.gz', {'a.png': bytes(2**22)})
    assert 'grows more than 200 times when unpacked' in source_refusal(bomb)
    info = tarfile.TarInfo('a.png')
    info.size = 2**40
    (tmp_path / 'lie.tar').write_bytes(info.tobuf() + bytes(1024))
    assert 'has a header that points beyond its end' in source_refusal(tmp_path / 'lie.tar')
    header = tarfile.TarInfo('x')
    header.type, header.size = tarfile.XHDTYPE, 2**30
    (tmp_path / 'pax.tar').write_bytes(header.tobuf() + bytes(1024))
    assert 'a header asks for' in source_refusal(tmp_path / 'pax.tar')
    twice = tmp_path / 'twice.tar'
    with tarfile.open(twice, 'w') as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo('a.png'))
    assert 'holds files of the same name (a.png)' in source_refusal(twice)


def test_a_chain_of_headers_is_one_sentence(tmp_path):
    header = tarfile.TarInfo('././@LongLink')
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 10
    chain = (header.tobuf(tarfile.GNU_FORMAT) + b'some/name\0'.ljust(512, b'\0')) * 5000
    (tmp_path / 'a.tar').write_bytes(chain + tarfile.TarInfo('a.png').tobuf() + bytes(1024))
    assert 'is not a tar, or is cut short (maximum recursion depth exceeded' in source_refusal(tmp_path / 'a.tar')
