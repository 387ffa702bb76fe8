"""Readers of data sets against thousands of damaged files: nothing except an error for users ever comes out."""

import io
import json
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import UserError
from tests.support.mutations import mutated
from tests.support.pictures import encoded, fill, noise, noise_16, npy
from training.data.convert.decode import decode_picture
from training.data.convert.labels import labels_of_json
from training.data.convert.options import Split
from training.data.convert.png import encode_png
from training.data.convert.sources import open_pictures
from training.data.dataset import DataConfig, ImageDataset
from training.data.stored_image import open_stored
from training.data.verify.findings import Findings
from training.data.verify.image import ImageFault, decode_image
from training.data.verify.labels import check_labels
from training.data.verify.manifest import Manifest
from training.data.verify.source import scan

CASES = 2000
LIMIT_S = 5.0  # limit of one case, which allows for a busy machine
LIMIT_KB = 300 * 2**10
BLOCKS = (
    b'\0' * 4,
    b'\xff' * 4,
    b'\xff' * 8,
    b'\x7f\xff\xff\xff',
    b'\xff\xff\xff\x7f',
    b'\0' * 64,
    b'/../',
    b'\x1b[2J',
)
LABELS = json.dumps({'labels': [['a/0.png', 0], ['./a/1.png', 1]], 'classes': ['x', 'y']}).encode()


def attack(use: Callable[[bytes], object], data: bytes, cases: int = CASES) -> None:
    """Passes damaged copies of a file to a function, which may raise errors for users only.

    Args:
        use: Function of the contents of a file.
        data: Contents of a sound file.
        cases: Number of copies.
    """
    use(data)
    refused, before = 0, peak_kb()
    for seed in range(cases):
        began = time.monotonic()
        try:
            use(mutated(data, seed, BLOCKS))
        except (UserError, ImageFault):
            refused += 1
        except Exception as error:
            raise AssertionError(f'case {seed}: {error!r}') from error
        assert time.monotonic() - began < LIMIT_S, seed
    assert peak_kb() - before < LIMIT_KB
    assert refused > cases / 20  # the cases do damage


def peak_kb() -> int:
    """Returns the most memory that this process has had, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_all(path: Path, split: Split | None = None) -> None:
    """Reads labels and pictures of a source, and decodes the pictures; `split` is for CIFAR."""
    source = open_pictures(str(path), split)
    try:
        source.read_labels()
        source.passed_over.line()
        for index in range(min(len(source), 20)):
            payload = source.read(index)
            if isinstance(payload, bytes):
                assert source.name(index)
                assert source.origin(index)
                decode_picture(payload, source.where(index), 8, (8, 8))
    finally:
        source.close()


def attack_source(path: Path, data: bytes, cases: int = CASES, split: Split | None = None) -> None:
    """Attacks the reader of a source of pictures.

    Args:
        path: Name of the source, which decides its kind.
        data: Contents of a sound file.
        cases: Number of damaged copies.
        split: Part of a CIFAR archive.
    """

    def use(damaged: bytes) -> None:
        path.write_bytes(damaged)
        read_all(path, split)

    attack(use, data, cases)


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips(tmp_path, method):
    path, file = tmp_path / 'a.zip', io.BytesIO()
    with zipfile.ZipFile(file, 'w', method) as archive:
        for i in range(2):
            archive.writestr(f'a/{i}.png', encoded(noise(i, 8, 8)))
        archive.writestr('dataset.json', LABELS)

    def use(data: bytes) -> None:
        """Verifies, converts, and opens for training."""
        path.write_bytes(data)
        findings = Findings()
        source = scan(str(path), findings)
        if source is not None:
            check_labels(source, findings)
            source.close()
        read_all(path)
        dataset = ImageDataset(DataConfig(path=str(path), cond=True))
        dataset.image(1)
        dataset.close()

    attack(use, file.getvalue(), CASES // 2)


def test_tars(tmp_path):
    file = io.BytesIO()
    files = {'a/0.png': encoded(noise(0, 8, 8)), 'a/1.png': encoded(noise(1, 8, 8)), 'dataset.json': LABELS}
    with tarfile.open(fileobj=file, mode='w', format=tarfile.PAX_FORMAT) as archive:
        for name, data in {**files, 'ä' * 90: b''}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    attack_source(tmp_path / 'a.tar', file.getvalue())


def test_cifar_archives(tmp_path):
    """The pickles, in a tar that is not compressed."""
    file = io.BytesIO()
    batch = {'data': np.zeros([1, 3072], np.uint8), 'labels': [0], 'filenames': ['a.png']}
    with tarfile.open(fileobj=file, mode='w') as archive:
        for name in ('test_batch', 'batches.meta'):
            data = pickle.dumps({'label_names': [b'cat', b'dog']} if 'meta' in name else batch, protocol=2)
            info = tarfile.TarInfo(f'cifar-10-batches-py/{name}')
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    attack_source(tmp_path / 'cifar-10-python.tar', file.getvalue(), split='test')


def test_idx_files(tmp_path):
    images = struct.pack('>BBBBIII', 0, 0, 8, 3, 3, 8, 8) + bytes(range(192))
    labels = struct.pack('>BBBBI', 0, 0, 8, 1, 3) + b'\0\1\2'
    (tmp_path / 'train-labels-idx1-ubyte').write_bytes(labels)
    attack_source(tmp_path / 'train-images-idx3-ubyte', images)
    path = tmp_path / 'train-images-idx3-ubyte'
    path.write_bytes(images)

    def use(data: bytes) -> None:
        (tmp_path / 'train-labels-idx1-ubyte').write_bytes(data)
        read_all(path)

    attack(use, labels)


def test_databases(tmp_path):
    lmdb = pytest.importorskip('lmdb', reason='lmdb, which writes the database, is not installed')
    folder = tmp_path / 'x_lmdb'
    folder.mkdir()
    with lmdb.open(str(folder), map_size=2**20, lock=False) as database, database.begin(write=True) as transaction:
        for i in range(12):
            transaction.put(b'%04d' % i, encoded(noise(i, 8, 8)) if i % 2 else encoded(noise(i, 40, 40)))
    data = (folder / 'data.mdb').read_bytes()

    def use(damaged: bytes) -> None:
        (folder / 'data.mdb').write_bytes(damaged)
        read_all(folder)

    attack(use, data)


@pytest.mark.parametrize('ending', ['txt', 'csv', 'tsv'])
def test_lists(tmp_path, ending):
    fill(tmp_path, {'a/0.png': noise(0, 8, 8), '1.png': noise(1, 8, 8)})
    mark = {'txt': ' ', 'csv': ',', 'tsv': '\t'}[ending]
    attack_source(tmp_path / f'list.{ending}', f'# two\na/0.png{mark}cat\n1.png{mark}dög\n'.encode(), CASES // 3)


def test_dataset_json():
    attack(lambda data: labels_of_json(data, ['a/0.png', 'a/1.png'], 'x'), LABELS)


def test_manifests(tmp_path):
    fill(tmp_path, {'0.png': noise(0, 8, 8)})
    entry = {'size': 3, 'sha256': 'x'}
    refused = 0
    for seed in range(CASES):
        data = mutated(json.dumps({'version': 1, 'files': {'0.png': entry, 'b.png': entry}}).encode(), seed, BLOCKS)
        (tmp_path / 'manifest.json').write_bytes(data)
        findings = Findings()
        source = scan(str(tmp_path), findings)
        Manifest(source, False, findings).finish(source)
        refused += findings.counts['manifest']
    assert refused > CASES / 20


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    tifffile = pytest.importorskip('tifffile', reason='the tiff extra is not installed')
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric='rgb', rowsperstrip=4, **options)
    return file.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
PICTURES = {
    'PNG': lambda: encoded(noise(0, 8, 8), exif=EXIF),
    'PNG palette': lambda: encoded(noise(0, 8, 8).quantize(8), transparency=1),
    'PNG 16': lambda: encode_png(noise_16(0, 8, 8)),
    'JPEG': lambda: encoded(noise(0, 8, 8), 'JPEG', exif=EXIF),
    'WEBP': lambda: encoded(noise(0, 8, 8), 'WEBP', exif=EXIF),
    'GIF': lambda: encoded(noise(0, 8, 8), 'GIF'),
    'BMP': lambda: encoded(noise(0, 8, 8), 'BMP'),
    'PPM': lambda: encoded(noise(0, 8, 8), 'PPM'),
    'TIFF': lambda: encoded(noise(0, 8, 8), 'TIFF'),
    'TIFF 16': lambda: tiff(noise_16(0, 8, 8)),
    'TIFF 16 deflate': lambda: tiff(noise_16(0, 8, 8), compression='zlib'),
    'npy': lambda: npy(noise_16(0, 8, 8)),
}


@pytest.mark.parametrize('kind', PICTURES)
def test_pictures(kind):
    data = PICTURES[kind]()
    attack(lambda data: decode_picture(data, 'x', 16, (4, 4)), data)


@pytest.mark.parametrize('kind', ['PNG', 'PNG 16', 'JPEG', 'WEBP', 'npy'])
def test_stored_images_are_judged_by_verify_as_training_reads_them(kind):
    name = 'a.npy' if kind == 'npy' else 'a.png'

    def use(data: bytes) -> None:
        """Compares the two readers, and raises what training raises."""
        try:
            seen = decode_image(data, name)
        except ImageFault:
            seen = None
        try:
            pixels = open_stored(data, name, 'x', 'y').decode()
        except UserError:
            assert seen is None or seen.fault is not None
            raise
        assert seen is not None
        assert np.array_equal(seen.array, pixels.transpose(1, 2, 0))

    if kind == 'PNG 16':
        with pytest.raises(UserError, match='several channels of 16 bits'):
            use(PICTURES[kind]())
        return attack(use, encode_png(noise_16(0, 8, 8, 1)))
    return attack(use, PICTURES[kind]())
