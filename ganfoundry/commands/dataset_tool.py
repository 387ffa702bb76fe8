"""`dataset_tool.py` and `ganfoundry dataset-tool`: the options of converting and verifying data sets."""

from __future__ import annotations

import sys
from typing import Any, get_args

import click

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from dnnlib.paths import user_path
from dnnlib.printable import printable
from dnnlib.signals import StopRequested, StopSignal
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT
from training.data.convert.options import ConvertOptions, Filter, Labels, Mode, PictureOptions, Split, Transform


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """WxH in pixels, as (height, width)."""

    name = 'WxH'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        width, _, height = str(value).lower().partition('x')
        if not (width.isdecimal() and height.isdecimal()):
            self.fail(f'{value!r} is not WIDTHxHEIGHT, such as 256x256', param, ctx)
        return int(height), int(width)


class _Color(click.ParamType):  # type: ignore[type-arg]
    """A color by name or #rrggbb, as (red, green, blue). --alpha also takes 'keep'."""

    name = 'COLOR'

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from PIL import ImageColor  # here, so that --help is fast

        if value == 'keep' and param is not None and param.name == 'alpha':
            return value
        try:
            return ImageColor.getrgb(value)[:3]
        except ValueError:
            self.fail(f'{value!r} is not a color; give a name such as white, or #rrggbb', param, ctx)


class _Tool(click.Group):
    """Converts without a subcommand, and imports `verify` when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ['verify']

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name != 'verify':
            return None
        from training.data.verify.command import verify

        return verify

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section('Commands'):
            formatter.write_dl([('verify DATA', 'Check a data set: files, images, labels, duplicates.')])


def _choice(kind: Any) -> Choice:
    return Choice(list(get_args(kind)))


@click.group(
    cls=_Tool,
    invoke_without_command=True,
    subcommand_metavar='[verify DATA]',
    # StyleGAN2-ADA's README has --max_images where its tool had --max-images: both are understood.
    context_settings=CONTEXT,
)
@click.option('--source', type=user_path, metavar='PATH', help='Images to read, see above.')
@click.option('--dest', type=user_path, metavar='PATH', help='New .zip, or new or empty folder, to write.')
@click.option(
    '--resolution', type=_Size(), metavar='WxH', help='Size of the written images, such as 256x256 or 384x256.'
)
@click.option('--width', type=click.IntRange(min=1), help='With --height, the same.')
@click.option('--height', type=click.IntRange(min=1), help='With --width, the same.')
@click.option('--transform', type=_choice(Transform), help='How images get that size.  [default: resize]')
@click.option(
    '--resize-filter',
    help='Filter of --transform=resize and its relatives.',
    type=_choice(Filter),
    default='lanczos',
    show_default=True,
)
@click.option('--pad-colour', type=_Color(), help='Color around images, with --transform=pad.  [default: black]')
@click.option('--mode', type=_choice(Mode), default='auto', show_default=True, help='auto: gray if all images are.')
@click.option(
    '--alpha', type=_Color(), default='white', show_default=True, help='Color under transparent pixels, or: keep.'
)
@click.option('--bits', type=Choice(['8', '16']), default='8', show_default=True, help='Bits of a channel.')
@click.option(
    '--labels',
    type=_choice(Labels),
    default='json',
    show_default=True,
    help="json: the source's own (dataset.json, the list, the archive); folders: a class for each top folder.",
)
@click.option('--classes', metavar='A,B,8-11', help='Classes to take, by name or number; they are numbered anew.')
@click.option('--split', type=_choice(Split), help='Part of a CIFAR archive.  [default: train]')
@click.option('--max-images', type=click.IntRange(min=1), help='Number of images to take, from the first.')
@click.option('--shuffle-seed', type=int, metavar='SEED', help='Take the --max-images at random.')
@click.option('--drop-duplicates', is_flag=True, help='Leave out images that are written with the same pixels.')
@click.option('--workers', type=click.IntRange(min=1), help='Processes.  [default: one per core]')
@click.option('--strict', is_flag=True, help='Stop at the first bad image and write nothing.')
@click.pass_context
def main(ctx: click.Context, /, **flags: Any) -> None:
    """Convert images to a data set, or verify one.

    Writes the StyleGAN data-set layout. Reads a folder (with all folders below it), a zip or a tar of PNG, JPEG, WebP,
    BMP, GIF, TIFF, PPM or .npy; an LSUN *_lmdb folder; cifar-10-python.tar.gz and cifar-100-python.tar.gz; MNIST's
    *-images-idx3-ubyte.gz; a .txt, .csv or .tsv list of paths. EXIF rotation and color profiles are applied. Bad
    images are left out and listed at the end. docs/data.md explains every option.

    \b
    python dataset_tool.py --source=photos --dest=photos-256.zip --resolution=256x256 --transform=center-crop
    python dataset_tool.py verify photos-256.zip
    """
    given = [name for name in ('source', 'dest') if flags[name] is not None]
    if ctx.invoked_subcommand is not None:
        if given:
            raise click.UsageError(f'--{given[0]} belongs to a conversion; {ctx.invoked_subcommand} takes DATA')
        return
    if len(given) < 2:
        raise click.UsageError('a conversion needs --source=PATH and --dest=PATH')
    run_command(lambda: _convert(flags))


def _convert(flags: dict[str, Any]) -> None:
    """Converts, and prints a summary. Raises UserError; then there is no output."""
    options = read_options(flags)
    from training.data.convert.run import convert_pictures

    with StopSignal() as stop:
        try:
            summary = convert_pictures(options, stop)
        except StopRequested:
            click.echo(f'Stopped; {options.dest} was not made.', err=True)
            sys.exit(stop.exit_code)
    for line in summary.lines():
        click.echo(printable(line))


def read_options(flags: dict[str, Any]) -> ConvertOptions:
    """Returns the command line as checked options."""
    picture = PictureOptions(
        size=_size(flags),
        transform=flags['transform'],
        resize_filter=flags['resize_filter'],
        mode=flags['mode'],
        alpha=None if flags['alpha'] == 'keep' else flags['alpha'],
        pad_color=flags['pad_colour'],
        bits=int(flags['bits']),
    )
    return ConvertOptions(
        source=flags['source'],
        dest=flags['dest'],
        picture=picture,
        labels=flags['labels'],
        classes=flags['classes'],
        split=flags['split'],
        max_images=flags['max_images'],
        shuffle_seed=flags['shuffle_seed'],
        num_workers=flags['workers'],
        drop_duplicates=flags['drop_duplicates'],
        strict=flags['strict'],
    )


def _size(flags: dict[str, Any]) -> tuple[int, int] | None:
    """Returns height and width from --resolution, or from StyleGAN2-ADA's --width and --height."""
    width, height = flags['width'], flags['height']
    if width is None and height is None:
        resolution: tuple[int, int] | None = flags['resolution']
        return resolution
    if width is None or height is None:
        missing = 'width' if width is None else 'height'
        raise ConfigError(f'--width and --height go together; give --{missing} too, or --resolution=WxH')
    if flags['resolution'] is not None:
        raise ConfigError('--resolution says the same as --width and --height; give one or the other')
    return height, width


if __name__ == '__main__':
    main()
