"""Pictures, files and zips for tests of data sets, and `dataset_tool.py` itself."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from dnnlib.errors import DataError, UserError
from ganfoundry.commands import dataset_tool
from training.data.convert.source import PictureSource
from training.data.convert.sources import open_pictures
from training.data.dataset import DataConfig, ImageDataset


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


def source_refusal(
    path: pathlib.Path,
    kind: type[UserError] = DataError,
    use: Callable[[PictureSource], object] = lambda source: None,
) -> str:
    """Returns the message of the error that opening a source of pictures, or using it, raises.

    Args:
        path: The source.
        kind: Class of the error.
        use: Function that uses the source.
    """
    with pytest.raises(kind) as caught:
        use(open_pictures(str(path)))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def write_tar(path: pathlib.Path, files: dict[str, bytes], links: tuple[str, ...] = ()) -> pathlib.Path:
    """Writes a tar, compressed if its name ends in .gz or .tgz, and returns its path.

    Args:
        path: The file.
        files: Contents by name.
        links: Names of symbolic links.
    """
    with tarfile.open(path, 'w:gz' if path.suffix in ('.gz', '.tgz') else 'w') as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
            archive.addfile(info)
    return path


def data_refusal(
    kind: type[UserError], path: str | pathlib.Path | None, index: int | None = None, **options: Any
) -> str:
    """Returns the message of the error that opening a data set, or reading one of its images, raises.

    Args:
        kind: Class of the error.
        path: The data set; None: the embedded one.
        index: Image to read; None: none.
        options: Further fields of the config.
    """

    def use() -> None:
        dataset = ImageDataset(DataConfig(path=None if path is None else str(path), **options))
        if index is not None:
            dataset.image(index)

    with pytest.raises(kind) as caught:
        use()
    message = str(caught.value)
    assert '\n' not in message
    assert path is None or str(path) in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    return message


def png(size: tuple[int, int] = (8, 8), mode: str = 'RGB', **options: Any) -> bytes:
    """Returns a PNG of noise.

    Args:
        size: Width and height.
        mode: Pillow's mode.
        options: Options of Pillow's `save`.
    """
    image = noise(0, *size)
    return encoded(image if mode == 'RGB' else image.convert(mode), **options)
