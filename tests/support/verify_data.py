"""Small data sets with planted defects, for the tests of `dataset_tool.py verify`."""

import io
import json
import pathlib
import warnings
import zipfile

import numpy as np
from PIL import Image

from training.data.verify.survey import VerifyOptions, VerifyReport, verify_dataset


def picture(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """Smooth blobs of colour, (width, height)."""
    noise = np.random.RandomState(seed).randint(0, 256, [5, 5, 3]).astype(np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = 'PNG', **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def clean(count: int = 6) -> dict[str, bytes]:
    """Different pictures 00.png, 01.png, ..., half of class 0 and half of class 1."""
    files = {f'{i:02d}.png': encoded(picture(i)) for i in range(count)}
    labels = [[name, i % 2] for i, name in enumerate(files)]
    return {**files, 'dataset.json': json.dumps({'labels': labels, 'classes': ['cat', 'dog']}).encode()}


def unlabelled(files: dict[str, bytes]) -> dict[str, bytes]:
    """Clean pictures without labels, and more files."""
    pictures = clean()
    del pictures['dataset.json']
    return {**pictures, **files}


def write_zip(path: pathlib.Path, files: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]]) -> str:
    """A deflated zip; a list may hold a name twice."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter('ignore', UserWarning)  # of zipfile, about a name that is there twice
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return str(path)


def write_folder(path: pathlib.Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return str(path)


def found(report: VerifyReport) -> dict[str, list[str]]:
    """Names by kind."""
    return {kind: [f.name for f in report.findings.listed[kind]] for kind in report.findings.kinds()}


def look(path: str | pathlib.Path, **options: object) -> dict[str, list[str]]:
    """Names by kind of what is found."""
    return found(verify_dataset(str(path), VerifyOptions(**{'workers': 0, **options})))


def words(report: VerifyReport, kind: str) -> str:
    """The message of the only finding of a kind."""
    (finding,) = report.findings.listed[kind]
    return finding.message
