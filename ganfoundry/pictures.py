"""Pictures on the disk: written one by one as they are drawn, and never over another picture.

Letters: C channels, H and W image size.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import PIL.Image

from dnnlib.errors import ConfigError, DataError
from dnnlib.log import counted
from dnnlib.regular_file import open_regular
from ganfoundry.drawing import Drawn, save_image
from ganfoundry.points import PointList
from training.data.progress import progress

DRAWN_WITH = ('batch',)  # text chunks that may change the last bits of a picture, and nothing else of it
INTERRUPTED = 130  # exit code after Ctrl-C


def write_pictures(drawn: Iterable[Drawn], outdir: Path, info: dict[str, Any], count: int) -> None:
    """Writes each picture as soon as it is drawn, with progress on a terminal.

    After Ctrl-C, prints how many pictures are there and exits with the code 130. All files are whole.

    Args:
        drawn: The images.
        outdir: Folder of the PNGs, which exists.
        info: Text chunks of all PNGs.
        count: Number of images.

    Raises:
        DataError: If a picture cannot be drawn or written; says how many are there.
    """
    written = 0
    try:
        with progress('images') as advance:
            for image in drawn:
                save_image(image.image, outdir / f'{image.point.name}.png', {**info, **text_of(image)})
                written += 1
                advance(count)
    except KeyboardInterrupt:
        stop(f'{outdir} has {written} of {count} images')
    except DataError as error:
        raise DataError(f'{error}; {outdir} has {written} of {count} images') from None
    print(f'{outdir}: {counted(written, "image")}')


@contextlib.contextmanager
def interruptible(state: str) -> Iterator[None]:
    """Ends the process after Ctrl-C with a sentence that says what there is, and the exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        stop(state)


def stop(state: str) -> NoReturn:
    """Ends the process with the sentence `stopped: STATE` and the exit code 130."""
    print(f'\nstopped: {state}', file=sys.stderr)
    sys.exit(INTERRUPTED)


def text_of(drawn: Drawn) -> dict[str, Any]:
    """Returns the text chunks of one picture."""
    return {**drawn.point.origin, 'batch': list(drawn.batch)}


def check_free(path: Path, text: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuses to replace a file, unless it is the same picture by its text chunks.

    Args:
        path: The picture to be written.
        text: Text chunks that it will have.
        overwrite: Whether any file may be replaced.

    Raises:
        ConfigError: Names the file and the way out.
    """
    if overwrite or not path.exists() or same_picture(read_text(path), text):
        return
    raise ConfigError(f'{path}: exists and is another picture; choose another --outdir, or add --overwrite')


def check_names_free(outdir: Path, points: PointList, info: Mapping[str, Any]) -> None:
    """Refuses to replace files in a folder by other pictures.

    Args:
        outdir: The folder.
        points: Points of the images to be written.
        info: Text chunks of all of them.
    """
    for path in sorted(outdir.glob('*.png')):
        if (point := points.find(path.stem)) is not None:
            check_free(path, {**info, **point.origin}, overwrite=False)


def same_picture(found: Mapping[str, str] | None, text: Mapping[str, Any]) -> bool:
    """Whether the text chunks of a PNG name the network, point and settings of `text`."""
    if found is None:
        return False
    wanted = {key: value if isinstance(value, str) else json.dumps(value) for key, value in text.items()}
    return {key: value for key, value in found.items() if key not in DRAWN_WITH} == {
        key: value for key, value in wanted.items() if key not in DRAWN_WITH
    }


def read_text(path: Path) -> dict[str, str] | None:
    """Returns the text chunks of a PNG; None for any other file."""
    return found[0] if (found := read_png(path)) is not None else None


def read_png(path: Path) -> tuple[dict[str, str], int] | None:
    """Returns the text chunks of a PNG that precede its pixels, and its width; None for any other file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # a large sheet is no bomb: its pixels are not read
            with open_regular(path) as file, PIL.Image.open(file, formats=['PNG']) as picture:
                return {str(key): text for key, text in picture.info.items() if isinstance(text, str)}, picture.width
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
