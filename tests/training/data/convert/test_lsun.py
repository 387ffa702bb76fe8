"""LMDB databases of LSUN."""

import os

import pytest

from tests.support.pictures import encoded, noise, read_set, run, source_refusal


def test_lsun_is_read_without_being_touched(tmp_path):
    lmdb = pytest.importorskip('lmdb', reason='lmdb, which writes the database, is not installed')
    folder = tmp_path / 'church_outdoor_train_lmdb'
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**22) as database, database.begin(write=True) as transaction:
        for seed in range(4):
            image = noise(seed, 24, 20)
            data = b'damaged' if seed == 2 else encoded(image, 'WEBP', lossless=True)
            transaction.put(f'{9 - seed}abc'.encode(), data)
    (folder / 'lock.mdb').unlink()
    result = run('--source', folder, '--dest', tmp_path / 'a.zip', '--transform=center-crop', '--resolution=16x16')
    images, content = read_set(tmp_path / 'a.zip')
    assert content == {'labels': None}
    assert len(images) == 3
    assert 'bad pictures left out: 1' in result.stdout
    assert '7abc: is not a' in result.stdout
    assert os.listdir(folder) == ['data.mdb']
    run('--source', folder, '--dest', tmp_path / 'b.zip', '--max_images=1', '--width=16', '--height=16')
    assert len(read_set(tmp_path / 'b.zip')[0]) == 1
    (folder / 'data.mdb').write_bytes(b'x' * 5000)
    assert 'cannot be read as an LMDB database' in source_refusal(folder)
