"""Pictures for the tests of `dataset_tool.py` and `training.convert`, and the command itself."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from ganfoundry.commands import dataset_tool


def run(*arguments: object, code: int = 0) -> Result:
    """dataset_tool.py with these arguments, which must end with this exit code."""
    result = CliRunner().invoke(dataset_tool.main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert 'Traceback' not in result.output
    return result


def noise(seed: int, width: int = 16, height: int = 16, mode: str = 'RGB') -> Image.Image:
    """8-bit noise of mode L, LA, RGB or RGBA."""
    pixels = np.random.RandomState(seed).randint(0, 256, [height, width, len(mode)]).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(2) if mode == 'L' else pixels)


def noise_16(seed: int, width: int = 16, height: int = 16, channels: int = 3) -> np.ndarray:
    """uint16 [H, W, C]."""
    return np.random.RandomState(seed).randint(0, 65536, [height, width, channels]).astype(np.uint16)


def encoded(image: Image.Image, kind: str = 'PNG', **options: object) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def npy(pixels: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def fill(folder: pathlib.Path, pictures: dict[str, Image.Image | bytes]) -> pathlib.Path:
    """Writes files below a folder."""
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            (folder / name).write_bytes(picture)
        else:
            picture.save(folder / name)
    return folder


def hwc(image: Image.Image) -> np.ndarray:
    """An image as an array [H, W, C]."""
    array = np.asarray(image)
    return array[..., np.newaxis] if array.ndim == 2 else array


def read_set(path: pathlib.Path) -> tuple[list[np.ndarray], dict]:
    """The images [H, W, C] of a zip that the tool wrote, in order, and its dataset.json."""
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
    """Of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
