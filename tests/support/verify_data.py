"""Small data sets with planted defects, for the tests of `dataset_tool.py verify`."""

import functools
import json
import pathlib
import zipfile

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from tests.support import pictures
from tests.support.pictures import encoded
from training.data.verify.command import verify as command
from training.data.verify.survey import VerifyOptions, VerifyReport, verify_dataset

write_zip = functools.partial(pictures.write_zip, method=zipfile.ZIP_DEFLATED)

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, [16, 16, 3]).astype(np.uint8))


def picture(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """Returns smooth blobs of color; size: (width, height)."""
    noise = np.random.RandomState(seed).randint(0, 256, [5, 5, 3]).astype(np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def flipped_png() -> bytes:
    """Returns a PNG of noise in which one bit is flipped."""
    data = bytearray(encoded(NOISE))
    data[len(data) // 2] ^= 8
    return bytes(data)


def clean(count: int = 6) -> dict[str, bytes]:
    """Returns different pictures 00.png, 01.png, ..., half of class 0 and half of class 1."""
    files = {f'{i:02d}.png': encoded(picture(i)) for i in range(count)}
    labels = [[name, i % 2] for i, name in enumerate(files)]
    return {**files, 'dataset.json': json.dumps({'labels': labels, 'classes': ['cat', 'dog']}).encode()}


def unlabelled(files: dict[str, bytes]) -> dict[str, bytes]:
    """Returns clean pictures without labels, and more files."""
    pictures = clean()
    del pictures['dataset.json']
    return {**pictures, **files}


def found(report: VerifyReport) -> dict[str, list[str]]:
    """Returns the names of what a report found, by kind."""
    return {kind: [f.name for f in report.findings.listed[kind]] for kind in report.findings.kinds()}


def look(path: str | pathlib.Path, **options: object) -> dict[str, list[str]]:
    """Verifies a data set and returns the names of what is found, by kind."""
    return found(verify_dataset(str(path), VerifyOptions(**{'workers': 0, **options})))


def words(report: VerifyReport, kind: str) -> str:
    """Returns the message of the only finding of a kind."""
    (finding,) = report.findings.listed[kind]
    return finding.message


def run_verify(*arguments: object, code: int = 0) -> Result:
    """Runs `dataset_tool.py verify` in this process, which must end with this exit code."""
    result = CliRunner().invoke(command, ['--workers=0', *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result
