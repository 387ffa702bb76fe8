"""verify finds every planted defect, by kind and by name, and nothing in a clean data set."""

import os
import pathlib
import pickle
import resource
import stat
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dnnlib.errors import ConfigError, DataError, UserError
from tests.verify_data import (
    clean,
    encoded,
    found,
    look,
    npy,
    picture,
    unlabelled,
    words,
    write_folder,
    write_zip,
)
from training import verify_pool
from training.dataset import EMBEDDED
from training.verify import Options, verify
from training.verify_findings import KINDS

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))


def test_a_clean_set_has_no_findings(tmp_path):
    assert look(write_zip(tmp_path / 'a.zip', clean())) == {}
    assert look(write_folder(tmp_path / 'a', clean())) == {}


def test_two_hundred_of_the_embedded_images_have_no_defects():
    report = verify(str(EMBEDDED), Options(max_images=200, workers=0))
    assert report.findings.number('defect') == 0
    assert set(found(report)) <= {'sample', 'near-duplicate'}  # its drawings share their parts
    assert report.sizes == {(64, 64): 200}
    assert report.forms == {(3, 8): 200}
    assert sum(report.labels.counts.values()) == report.num_files == 4096
    assert sum(report.brightness) == 200


# --- the zip -----------------------------------------------------------------


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
    """As bombs do that repeat one stream: the second entry is pointed at the first."""
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
    report = verify(str(path), Options(workers=0, duplicates=False))
    if not report.findings.counts:
        contents = {report.source.name(i): report.source.read(i) for i in range(len(report.source))}
        report.source.close()
        assert {**contents, 'dataset.json': report.source.read_labels()} == files
        report.source.close()


# --- the folder --------------------------------------------------------------


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
        Options(write_manifest=True, max_images=3)
    with pytest.raises(ConfigError, match='--near=16: must be between 0 and 15'):
        Options(near=16)


# --- the images --------------------------------------------------------------


def png_16_bit_rgb() -> bytes:
    """16x16, 16 bits a channel; Pillow cannot write one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    header = b''.join([(16).to_bytes(4, 'big') * 2, bytes([16, 2, 0, 0, 0])])
    rows = zlib.compress(np.random.RandomState(1).bytes(16 * 97).replace(b'\x01', b'\0'))
    filters = bytearray(zlib.decompress(rows))
    filters[:: 1 + 16 * 6] = bytes(16)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(filters)) + chunk(b'IEND', b'')


def flipped_png() -> bytes:
    data = bytearray(encoded(NOISE))
    data[len(data) // 2] ^= 8
    return bytes(data)


def animation(kind: str) -> bytes:
    return encoded(picture(20), kind, save_all=True, append_images=[picture(21), picture(22)])


def claims_too_much() -> bytes:
    data = bytearray(encoded(NOISE))
    data[16:24] = (8192).to_bytes(4, 'big') + (8193).to_bytes(4, 'big')
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    return bytes(data)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(30), 'JPEG', exif=exif)


@pytest.mark.parametrize(
    ('kind', 'name', 'data'),
    [
        ('truncated', 'x.png', encoded(NOISE)[:-20]),
        ('truncated', 'x.png', encoded(NOISE)[:20]),
        ('truncated', 'x.jpg', encoded(NOISE, 'JPEG')[:-40]),
        ('truncated', 'x.webp', encoded(NOISE, 'WEBP')[:-40]),
        ('damaged', 'x.png', flipped_png()),
        ('not-an-image', 'x.png', b''),
        ('not-an-image', 'x.png', b'hello'),
        ('not-an-image', 'x.png', b'GIF89a' + bytes(100)),
        ('too-many-pixels', 'x.png', claims_too_much()),
        ('animation', 'x.png', animation('PNG')),
        ('animation', 'x.webp', animation('WEBP')),
        ('palette', 'x.png', encoded(NOISE.convert('P'))),
        ('colour-mode', 'x.png', encoded(NOISE.convert('1'))),
        ('colour-mode', 'x.jpg', encoded(NOISE.convert('CMYK'), 'JPEG')),
        ('transparent-colour', 'x.png', encoded(NOISE, transparency=(1, 2, 3))),
        ('16-bit-colour', 'x.png', png_16_bit_rgb()),
        ('wrong-size', 'x.png', encoded(picture(30, (32, 16)))),
        ('wrong-channels', 'x.png', encoded(NOISE.convert('L'))),
        ('wrong-channels', 'x.png', encoded(NOISE.convert('RGBA'))),
        ('wrong-bits', 'x.npy', npy(np.random.RandomState(0).randint(0, 65536, [16, 16, 3]).astype(np.uint16))),
        ('array', 'x.npy', b'hello'),
        ('array', 'x.npy', npy(np.zeros([16, 16, 3], np.float32))),
        ('array', 'x.npy', npy(np.zeros([3], np.uint8))),
        ('truncated', 'x.npy', npy(np.zeros([16, 16, 3], np.uint8))[:-1]),
        ('too-many-pixels', 'x.npy', npy(np.zeros([1, 1, 3], np.uint8)).replace(b'(1, 1, 3)', b'(999999, 99999, 3)')),
        ('flat', 'x.png', encoded(Image.new('RGB', (16, 16), 'red'))),
        ('rotated', 'x.jpg', rotated()),
    ],
)
def test_planted_image_is_found_by_name_and_kind(tmp_path, kind, name, data):
    assert look(write_zip(tmp_path / 'a.zip', unlabelled({name: data}))) == {kind: [name]}
    assert kind in look(write_folder(tmp_path / 'a', unlabelled({name: data})))


def test_an_array_of_objects_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ('a pickle was executed',)

    array = np.empty([1, 1], dtype=object)
    array[0, 0] = Bomb()
    header = npy(np.zeros([1, 1], np.uint8)).replace(b"'|u1',", b"'|O', ")[:-1]
    report = verify(write_zip(tmp_path / 'a.zip', unlabelled({'x.npy': header + pickle.dumps(array)})), Options())
    assert found(report) == {'array': ['x.npy']}
    assert words(report, 'array') == 'holds object; expected uint8 or uint16'


def test_all_planted_together_are_all_found(tmp_path):
    """Nothing hides behind the first."""
    planted = {
        'cut.png': encoded(NOISE)[:-20],
        'flip.png': flipped_png(),
        'wide.png': encoded(picture(30, (32, 16))),
        'grey.png': encoded(picture(31).convert('L')),
        'palette.png': encoded(picture(32).convert('P')),
        'copy.png': encoded(picture(0), compress_level=1),
        '../out.png': encoded(picture(33)),
        'bomb.png': bytes(2**20),
    }
    assert look(write_zip(tmp_path / 'a.zip', {**clean(), **planted})) == {
        'unsafe-path': ['../out.png'],
        'bomb': ['bomb.png'],
        'truncated': ['cut.png'],
        'damaged': ['flip.png'],
        'palette': ['palette.png'],
        'wrong-size': ['wide.png'],
        'wrong-channels': ['grey.png'],
        'exact-duplicate': ['copy.png'],
        'image-without-label': ['copy.png', 'cut.png', 'flip.png', 'grey.png', 'palette.png', 'wide.png'],
    }


@pytest.mark.parametrize(
    ('size', 'command'),
    [((17, 17), '--resolution=16x16'), ((400, 5), '--resolution=128x8'), ((130, 66), '--resolution=128x64')],
)
def test_size_that_cannot_be_trained_on_comes_with_the_command_that_mends_it(tmp_path, size, command):
    path = write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(picture(i, size)) for i in range(3)})
    report = verify(path, Options(workers=0))
    assert found(report) == {'untrainable-size': [path]}
    assert f'python dataset_tool.py --source={path} --dest={path[:-4]}-' in words(report, 'untrainable-size')
    assert words(report, 'untrainable-size').endswith(f'{command} --transform=center-crop')


@pytest.mark.parametrize(
    ('files', 'form'),
    [
        ([encoded(picture(i).convert('RGBA')) for i in range(3)], (4, 8)),
        ([encoded(picture(i).convert('LA')) for i in range(3)], (2, 8)),
        ([encoded(picture(i, (24, 16))) for i in range(3)], (3, 8)),
    ],
)
def test_alpha_and_other_shapes_that_all_share_are_no_defects(tmp_path, files, form):
    report = verify(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(files)}), Options(workers=0)
    )
    assert found(report) == {}
    assert report.forms == {form: 3}


def test_16_bit_grey_and_arrays_of_many_channels_are_no_defects(tmp_path):
    random = np.random.RandomState(0)
    grey = [encoded(Image.fromarray(random.randint(0, 65536, [16, 16]).astype(np.uint16))) for _ in range(3)]
    report = verify(write_zip(tmp_path / 'a.zip', {f'{i}.png': data for i, data in enumerate(grey)}), Options())
    assert (found(report), report.forms) == ({}, {(1, 16): 3})
    arrays = [npy(random.randint(0, 65536, [16, 24, 6]).astype('>u2')) for _ in range(3)]
    report = verify(write_zip(tmp_path / 'b.zip', {f'{i}.npy': data for i, data in enumerate(arrays)}), Options())
    assert (found(report), report.forms, report.sizes) == ({}, {(6, 16): 3}, {(16, 24): 3})


def test_statistics_are_those_of_the_pixels(tmp_path):
    images = [picture(i) for i in range(5)]
    report = verify(
        write_zip(tmp_path / 'a.zip', {f'{i}.png': encoded(im) for i, im in enumerate(images)}), Options(workers=0)
    )
    pixels = np.stack([np.asarray(image) for image in images]) / 255  # [N, H, W, C]
    np.testing.assert_allclose(report.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(report.std, pixels.std(axis=(0, 1, 2)), rtol=1e-9)


# --- duplicates --------------------------------------------------------------


def test_duplicates_are_grouped_by_kind(tmp_path):
    big = [picture(i, (128, 128)) for i in range(12)]
    files = {f'{i:02d}.png': encoded(image) for i, image in enumerate(big)}
    files['same.png'] = encoded(big[0], compress_level=0)
    files['same.webp'] = encoded(big[0], 'WEBP', lossless=True)
    files['near.jpg'] = encoded(big[1], 'JPEG', quality=85)
    files['flip.png'] = encoded(big[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    path = write_zip(tmp_path / 'a.zip', files)
    report = verify(path, Options(workers=0))
    assert found(report) == {
        'exact-duplicate': ['same.png', 'same.webp'],
        'near-duplicate': ['near.jpg'],
        'flipped-duplicate': ['flip.png'],
    }
    named = [[report.source.name(position) for position in group.positions] for group in report.groups]
    assert named == [['00.png', 'same.png', 'same.webp'], ['01.png', 'near.jpg'], ['02.png', 'flip.png']]
    assert words(report, 'near-duplicate') == 'looks like 01.png'
    assert look(path, duplicates=False) == {}
    assert set(look(path, near=0)) >= {'exact-duplicate', 'flipped-duplicate'}


def test_duplicates_with_different_labels_say_so(tmp_path):
    files = clean()
    files['01.png'] = encoded(picture(0), compress_level=0)
    report = verify(write_zip(tmp_path / 'a.zip', files), Options(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png, in class 1 instead of 0'
    files['dataset.json'] = b'{"labels": [["00.png", 0]]}'
    report = verify(write_zip(tmp_path / 'b.zip', files), Options(workers=0))
    assert words(report, 'exact-duplicate') == 'has the same pixels as 00.png'


# --- processes ---------------------------------------------------------------


def test_processes_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_pool, '_WORTH_IT', 1)
    files = {**clean(40), 'x.png': b'no image', 'y.png': encoded(picture(3))}
    path = write_zip(tmp_path / 'a.zip', files)
    alone, together = (verify(path, Options(workers=workers)) for workers in (0, 2))
    assert found(alone) == found(together)
    assert (alone.mean, alone.std, alone.groups) == (together.mean, together.std, together.groups)


def die(source: object, position: int) -> None:
    os._exit(1)


def test_a_process_that_dies_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(verify_pool, '_WORTH_IT', 1)
    source = verify(write_zip(tmp_path / 'a.zip', clean()), Options(workers=0)).source
    with pytest.raises(UserError, match='a decoding process was killed'):
        list(verify_pool.map_images(die, source, np.arange(3), 1))
