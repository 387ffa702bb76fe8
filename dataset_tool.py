"""Makes a data set for training out of a folder or a zip of pictures. See `python dataset_tool.py --help`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import ConfigError, DataError, UserError

if TYPE_CHECKING:
    from training.image_source import ImageSource

ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same pictures give the same bytes


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for; `run` does it."""

    source: str
    dest: str
    resolution: int | None = None  # side of the pictures written; None keeps theirs
    transform: str | None = None  # 'center-crop' | 'pad' | None: pictures must be square
    resize_filter: str = 'lanczos'  # 'lanczos' | 'box'
    labels: str = 'json'  # 'json': from the source's dataset.json, if any; 'folders': its top folders are the classes
    max_images: int | None = None
    strict: bool = False  # a bad picture ends the run instead of being left out


class _Resolution(click.ParamType):
    """WxH, as in StyleGAN3's tool; square and a power of two, because training takes nothing else."""

    name = 'WxH'

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from training.dataset import is_resolution

        if isinstance(value, int):
            return value
        width, _, height = value.lower().partition('x')
        if not (width.isdecimal() and height.isdecimal()):
            self.fail(f'{value!r} is not WIDTHxHEIGHT, such as 256x256', param, ctx)
        if width != height or not is_resolution(int(width)):
            self.fail(f'{value} must be square and a power of two of at least 4, such as 256x256', param, ctx)
        return int(width)


@click.command(context_settings={'help_option_names': ['-h', '--help']})
@click.option('--source', required=True, metavar='PATH', help='Folder (searched throughout) or zip of pictures.')
@click.option('--dest', required=True, metavar='PATH', help='New .zip, or new or empty folder, to write.')
@click.option('--resolution', type=_Resolution(), help='Size of the pictures written, such as 256x256.')
@click.option('--transform', type=click.Choice(['center-crop', 'pad']), help='How pictures become square.')
@click.option('--resize-filter', type=click.Choice(['lanczos', 'box']), default='lanczos', show_default=True)
@click.option(
    '--labels',
    type=click.Choice(['json', 'folders']),
    default='json',
    show_default=True,
    help="Classes: from the source's dataset.json, or one for every folder at its top.",
)
@click.option('--max-images', type=click.IntRange(min=1), help='Stop after so many pictures.')
@click.option('--strict', is_flag=True, help='Stop at the first bad picture and write nothing.')
def main(**options: Any) -> None:
    """Convert pictures to the StyleGAN data-set layout.

    Reads PNG, JPEG, WebP, BMP and TIFF. Writes 8-bit PNG: grey if all pictures are grey, RGB otherwise. 16-bit
    channels keep their high byte, transparency is laid over white, EXIF rotation is applied. Bad pictures are left
    out and listed at the end.

    \b
    python dataset_tool.py --source=photos --dest=photos-256.zip --resolution=256x256 --transform=center-crop
    """
    try:
        run(Options(**options))
    except UserError as error:
        click.echo(f'Error: {error}', err=True)
        sys.exit(2)


def run(options: Options) -> None:
    """Converts, and prints what was done. Raises UserError; then there is no output."""
    from training import picture
    from training.image_source import open_source, some

    if options.transform and not options.resolution:
        raise ConfigError(f'--transform={options.transform} needs --resolution=WxH, the size of the pictures written')
    _check_dest(options.dest)
    source = open_source(options.source, picture.SOURCE_EXTENSIONS)
    count = min(len(source), options.max_images or len(source))
    labels, class_names = _read_labels(source, options.labels)
    mode = 'L' if all(picture.is_grey(source, index) for index in range(count)) else 'RGB'
    kept: list[int] = []  # positions in the source
    bad: list[str] = []
    enlarged = 0
    side: int | None = None
    with _writer(options.dest) as write, click.progressbar(range(count), file=sys.stderr) as indices:
        for index in indices:
            try:
                image = picture.read_picture(source, index, mode)
            except DataError as error:
                if options.strict:
                    raise
                bad.append(str(error))
                continue
            where = source.where(index)
            image = picture.square(image, options.transform, where)
            if options.resolution:
                enlarged += image.width < options.resolution
                image = picture.resize(image, options.resolution, options.resize_filter)
            else:
                picture.check_side(image, side, where)
            side = image.width
            write(_name(len(kept)), picture.to_png(image))
            kept.append(index)
        if not kept:
            raise DataError(f'{options.source}: none of its {count} pictures can be read: {some(bad)}')
        write('dataset.json', _to_json(labels, class_names, kept))
    source.close()
    click.echo(f'{options.dest}: pictures: {len(kept)}, {side}x{side} {"grey" if mode == "L" else "RGB"}')
    _report(labels, class_names, kept, enlarged, bad)


def _read_labels(source: ImageSource, kind: str) -> tuple[list | None, list[str] | None]:
    """Labels of all pictures of the source as dataset.json holds them, and the names of classes made of folders."""
    from training.labels import parse_labels

    names = [source.name(index) for index in range(len(source))]
    if kind == 'folders':
        loose = [name for name in names if '/' not in name]
        if loose:
            fault = f'{source.path}/{loose[0]} lies in no folder (one of {len(loose)})'
            raise ConfigError(f'--labels=folders: {fault}. Every picture must be in the folder of its class')
        tops = [name.split('/')[0] for name in names]
        class_names = sorted(set(tops))
        numbers = {top: number for number, top in enumerate(class_names)}
        return [numbers[top] for top in tops], class_names
    text = source.read_labels()
    labels = None if text is None else parse_labels(text, names, f'{source.path}: dataset.json')
    return (None if labels is None else labels.tolist()), None


def _to_json(labels: list | None, class_names: list[str] | None, kept: list[int]) -> bytes:
    """The text of dataset.json for the pictures written; "classes" names classes made of folders."""
    pairs = None if labels is None else [[_name(number), labels[index]] for number, index in enumerate(kept)]
    content = {'labels': pairs} | ({'classes': class_names} if class_names else {})
    return (json.dumps(content) + '\n').encode()


def _name(number: int) -> str:
    return f'{number // 1000:05d}/img{number:08d}.png'


def _check_dest(dest: str) -> None:
    """Refuses to write over anything."""
    if not dest:
        raise ConfigError('--dest is empty; give a new .zip or a new or empty folder')
    if dest.lower().endswith('.zip'):
        if os.path.lexists(dest):
            raise ConfigError(f'--dest={dest}: exists already; remove it or give another name')
    elif os.path.lexists(dest) and not (os.path.isdir(dest) and not os.listdir(dest)):
        raise ConfigError(f'--dest={dest}: must be a new .zip, or a folder that is new or empty')


@contextlib.contextmanager
def _writer(dest: str) -> Iterator[Callable[[str, bytes], None]]:
    """Yields write(name, data). The data set appears under its name when it is whole, and else not at all."""
    dest = os.path.abspath(dest)
    temp = f'{dest}.{os.getpid()}.tmp'
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    try:
        with _zip_writer(temp) if dest.lower().endswith('.zip') else _folder_writer(temp) as write:
            yield write
        if os.path.isdir(dest):
            os.rmdir(dest)  # empty, see _check_dest
        os.rename(temp, dest)
    except BaseException:
        if os.path.isdir(temp):
            shutil.rmtree(temp)
        elif os.path.exists(temp):
            os.remove(temp)
        raise


@contextlib.contextmanager
def _zip_writer(path: str) -> Iterator[Callable[[str, bytes], None]]:
    """Writes entries stored, so that reading one is a seek, and with one fixed time and mode."""

    def write(name: str, data: bytes) -> None:
        info = zipfile.ZipInfo(name, ZIP_TIME)
        info.create_system = 3  # Unix, wherever this runs
        info.external_attr = 0o644 << 16
        archive.writestr(info, data)

    with open(path, 'wb') as file:
        with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
            yield write
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _folder_writer(path: str) -> Iterator[Callable[[str, bytes], None]]:
    """Writes files below a folder."""

    def write(name: str, data: bytes) -> None:
        file = os.path.join(path, name)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, 'wb') as out:
            out.write(data)

    os.makedirs(path)
    yield write


def _report(labels: list | None, class_names: list[str] | None, kept: list[int], enlarged: int, bad: list[str]) -> None:
    """What to know about the data set beyond its size: classes, enlarged pictures, pictures left out."""
    if labels and class_names:
        counts = Counter(labels[index] for index in kept)
        for number, name in enumerate(class_names):
            click.echo(f'  class {number}: {name} ({counts[number]})')
    elif labels:
        click.echo('  labels: carried over from dataset.json')
    if enlarged:
        click.echo(f'  smaller than that, and enlarged: {enlarged}; the network will learn their blur')
    if bad:
        click.echo(f'  bad pictures left out: {len(bad)}')
        for line in bad:
            click.echo(f'    {line}')


if __name__ == '__main__':
    main()
