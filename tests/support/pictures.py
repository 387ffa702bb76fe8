"""Pictures, files and zips for tests of data sets, and `dataset_tool.py` itself."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from click.testing import CliRunner, Result
from PIL import Image

from ganfoundry.commands import dataset_tool


def run(*arguments: object, code: int = 0) -> Result:
    """Runs dataset_tool.py, which must end with this exit code."""
    result = CliRunner().invoke(dataset_tool.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert 'Traceback' not in result.output
    return result


def noise(seed: int, width: int = 16, height: int = 16, mode: str = 'RGB') -> Image.Image:
    """Returns 8-bit noise.

    Args:
        seed: Of the noise.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        mode: L, LA, RGB or RGBA.
    """
    pixels = np.random.RandomState(seed).randint(0, 256, [height, width, len(mode)]).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(2) if mode == 'L' else pixels)


def noise_16(seed: int, width: int = 16, height: int = 16, channels: int = 3) -> np.ndarray:
    """Returns noise as uint16 [H, W, C].

    Args:
        seed: Of the noise.
        width: W.
        height: H.
        channels: C.
    """
    return np.random.RandomState(seed).randint(0, 65536, [height, width, channels]).astype(np.uint16)


def encoded(image: Image.Image, kind: str = 'PNG', **options: object) -> bytes:
    """Returns the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def npy(pixels: np.ndarray) -> bytes:
    """Returns the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def fill(folder: pathlib.Path, pictures: dict[str, Image.Image | bytes]) -> pathlib.Path:
    """Writes files below a folder and returns it."""
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            (folder / name).write_bytes(picture)
        else:
            picture.save(folder / name)
    return folder


def write_folder(folder: pathlib.Path, pictures: dict[str, Image.Image | bytes]) -> str:
    """Writes files below a folder and returns its path."""
    return str(fill(folder, pictures))


def write_zip(
    path: pathlib.Path,
    files: Mapping[str, bytes] | Iterable[tuple[str | zipfile.ZipInfo, bytes]],
    method: int = zipfile.ZIP_STORED,
) -> str:
    """Writes a zip and returns its path.

    Args:
        path: The file.
        files: Contents by name; pairs may hold a name twice.
        method: Compression, a constant of `zipfile`.
    """
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'w', method) as archive:
        warnings.simplefilter('ignore', UserWarning)  # zipfile warns of a name that is there twice
        for name, data in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, data)
    return str(path)


def digest(batches: Iterable[Sequence[torch.Tensor]]) -> str:
    """Returns the sha256 of every tensor of every batch, in order."""
    return hashlib.sha256(b''.join(part.numpy().tobytes() for batch in batches for part in batch)).hexdigest()


def hwc(image: Image.Image) -> np.ndarray:
    """Returns an image as an array [H, W, C]."""
    array = np.asarray(image)
    return array[..., np.newaxis] if array.ndim == 2 else array


def read_set(path: pathlib.Path) -> tuple[list[np.ndarray], dict]:
    """Returns the images [H, W, C] of a zip that the tool wrote, in order, and its dataset.json."""
    images = []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert names[-1] == 'dataset.json'
        for number, name in enumerate(names[:-1]):
            assert name.startswith(f'{number // 1000:05d}/img{number:08d}.')
            file = io.BytesIO(archive.read(name))
            images.append(np.load(file, allow_pickle=False) if name.endswith('.npy') else hwc(Image.open(file)))
        return images, json.loads(archive.read('dataset.json'))


def sha256(path: pathlib.Path) -> str:
    """Returns the digest of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
