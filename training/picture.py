"""Any picture to a training picture: upright, 8-bit, opaque, square, of one size. `dataset_tool.py` drives it.

Functions take and return Pillow images. DataError means that the picture is bad, ConfigError that an option is wanting.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from dnnlib.errors import ConfigError, DataError
from training.dataset import MIN_RESOLUTION, is_resolution
from training.image_decode import EXTENSIONS, FORMATS, load_image, open_image
from training.image_source import ImageSource

SOURCE_EXTENSIONS = (*EXTENSIONS, '.bmp', '.tif', '.tiff')

_SOURCE_FORMATS = (*FORMATS, 'BMP', 'TIFF')
_GREY_MODES = ('1', 'L', 'LA', 'La')
_FILTERS = {'lanczos': Image.Resampling.LANCZOS, 'box': Image.Resampling.BOX}


def is_grey(source: ImageSource, index: int) -> bool:
    """Whether a picture's header says grey. One that cannot be read decides nothing."""
    try:
        image, _ = _open(source, index)
    except DataError:
        return True
    return image.mode in _GREY_MODES or image.mode.startswith('I;16')


def read_picture(source: ImageSource, index: int, mode: str) -> Image.Image:
    """Picture `index`, upright and opaque, in `mode`: 'L' (8-bit grey) or 'RGB'."""
    where = source.where(index)
    image, data = _open(source, index)
    if image.mode in ('I', 'F'):
        raise DataError(f'{where}: has 32-bit pixels (mode {image.mode}) of unknown range; expected 8 or 16 bits')
    load_image(image, data, where)
    try:
        return _flatten(ImageOps.exif_transpose(image)).convert(mode)
    except Exception as error:  # EXIF, palettes and transparency are contents of the file too
        raise DataError(f'{where}: cannot be converted to {mode} ({error})') from error


def square(image: Image.Image, transform: str | None, where: str) -> Image.Image:
    """The largest centred square ('center-crop'), or the picture centred on a black one ('pad')."""
    width, height = image.size
    if width == height:
        return image
    if transform == 'center-crop':
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side))
    if transform == 'pad':
        side = max(width, height)
        canvas = Image.new(image.mode, (side, side))
        canvas.paste(image, ((side - width) // 2, (side - height) // 2))
        return canvas
    way_out = '--resolution=WxH with --transform=center-crop (cuts the long side) or --transform=pad (adds black)'
    raise ConfigError(f'{where}: is {width}x{height}, not square. Give {way_out}')


def check_side(image: Image.Image, side: int | None, where: str) -> None:
    """Holds a square picture that is not to be resized against the side of those before it (None: it is the first)."""
    own = image.width
    if side is None and not is_resolution(own):
        below = max(MIN_RESOLUTION, 2 ** (own.bit_length() - 1))
        raise ConfigError(f'{where}: is {own}x{own}, no power of two. Give --resolution={below}x{below}')
    if side is not None and own != side:
        fault = f'is {own}x{own}, but those before are {side}x{side}; all must be equal'
        raise ConfigError(f'{where}: {fault}. Give --resolution={side}x{side}')


def resize(image: Image.Image, side: int, resize_filter: str) -> Image.Image:
    """A square picture at side x side, antialiased. resize_filter: 'lanczos' | 'box'."""
    return image if image.width == side else image.resize((side, side), _FILTERS[resize_filter])


def to_png(image: Image.Image) -> bytes:
    """PNG bytes without compression: fastest to load, and the same with every version of zlib."""
    buffer = io.BytesIO()
    image.info.clear()  # colour profiles and comments of the original
    image.save(buffer, format='PNG', compress_level=0)
    return buffer.getvalue()


def _open(source: ImageSource, index: int) -> tuple[Image.Image, bytes]:
    """Header and bytes of picture `index`."""
    data = source.read(index)
    return open_image(data, source.where(index), _SOURCE_FORMATS), data


def _flatten(image: Image.Image) -> Image.Image:
    """16 bits to 8 by the high byte, as Pillow itself does for 16-bit RGB; transparency over white."""
    if image.mode.startswith('I;16'):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new('RGBA', image.size, 'white')
        return Image.alpha_composite(white, image.convert('RGBA')).convert('RGB')
    return image
