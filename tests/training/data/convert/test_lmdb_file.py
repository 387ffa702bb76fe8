"""LMDB databases: every value is found, and a database that lies is an error, never a signal."""

import os
import struct

import pytest

from training.data.convert.lmdb_file import DamagedError, read_places

lmdb = pytest.importorskip('lmdb', reason='lmdb, which writes the databases, is not installed')


def database(path, values: dict[bytes, bytes], **options: object) -> None:
    """Writes a database in several transactions."""
    with lmdb.open(str(path), map_size=2**24, subdir=False, lock=False, **options) as file:
        for part in range(3):
            with file.begin(write=True) as transaction:
                for number, (key, value) in enumerate(values.items()):
                    if number % 3 == part:
                        transaction.put(key, value)


def contents(path) -> list[tuple[bytes, bytes]]:
    """Returns keys and values as our reader finds them."""
    with open(path, 'rb') as file:
        places = list(read_places(file, os.path.getsize(path)))
        data = path.read_bytes()
    return [(place.key, data[place.offset : place.offset + place.size]) for place in places]


@pytest.mark.parametrize('size', [0, 10, 900, 3000, 9000])
def test_every_value_is_found_in_the_order_of_the_keys(tmp_path, size):
    values = {b'%07d' % (i * 7919 % 1000): bytes([i % 256]) * (size + i % 5) for i in range(500)}
    database(tmp_path / 'a.mdb', values)
    assert contents(tmp_path / 'a.mdb') == sorted(values.items())


def test_an_empty_database_and_one_with_deleted_values(tmp_path):
    database(tmp_path / 'a.mdb', {})
    assert contents(tmp_path / 'a.mdb') == []
    values = {b'%04d' % i: b'x' * 100 for i in range(300)}
    database(tmp_path / 'b.mdb', values)
    with (
        lmdb.open(str(tmp_path / 'b.mdb'), subdir=False, lock=False, map_size=2**24) as file,
        file.begin(write=True) as transaction,
    ):
        for key in list(values)[::2]:
            transaction.delete(key)
            del values[key]
    assert contents(tmp_path / 'b.mdb') == sorted(values.items())


@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 0.99])
def test_a_database_that_is_cut_short_says_so(tmp_path, share):
    path = tmp_path / 'a.mdb'
    database(path, {b'%04d' % i: b'x' * 5000 for i in range(30)})
    os.truncate(path, int(share * os.path.getsize(path)))
    with pytest.raises(DamagedError, match=r'it is cut short|bytes, and its index'):
        contents(path)


def test_a_database_of_several_values_per_key_is_refused(tmp_path):
    path = tmp_path / 'a.mdb'
    database(path, {b'a': b'1'})
    data = bytearray(path.read_bytes())
    size = struct.unpack_from('<I', data, 16 + 24)[0]
    for number in (0, 1):
        struct.pack_into('<H', data, number * size + 16 + 24 + 48 + 4, 0x04)  # MDB_DUPSORT
    path.write_bytes(data)
    with pytest.raises(DamagedError, match='unknown properties 0x4'):
        contents(path)


def test_a_page_that_points_at_itself_is_an_error(tmp_path):
    path = tmp_path / 'a.mdb'
    database(path, {b'%04d' % i: b'x' * 900 for i in range(300)})
    data = bytearray(path.read_bytes())
    size = struct.unpack_from('<I', data, 16 + 24)[0]
    roots = [struct.unpack_from('<Q', data, number * size + 16 + 24 + 96 - 8)[0] for number in (0, 1)]
    for root in {root for root in roots if root < len(data) // size}:
        first = struct.unpack_from('<H', data, root * size + 16)[0]
        struct.pack_into('<I', data, root * size + first, root)
    path.write_bytes(data)
    with pytest.raises(DamagedError, match='again, or beyond its end'):
        contents(path)
