"""Conversion of one picture, from the bytes of its file to those in the data set; it runs in worker processes.

Letters: H and W height and width, C channels or planes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from dnnlib.errors import ConfigError, DataError
from training.data.convert.color import over, to_bits, to_mode, with_alpha
from training.data.convert.decode import Decoded, decode_picture
from training.data.convert.geometry import fit
from training.data.convert.options import PictureOptions, possible_size
from training.data.convert.png import encode_png
from training.data.shapes import split_size


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureJob:
    """A picture to convert."""

    where: str  # name of the file in messages
    payload: bytes | np.ndarray | DataError  # contents of a file, pixels [H, W, C], or the error of reading them
    mode: str  # 'L' | 'RGB'
    mode_is_a_guess: bool = False  # if so, color is reported instead of converted to gray


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The result for one picture. Exactly one of data, bad, is_too_small and met_color is set."""

    data: bytes = b''  # contents of the new file
    extension: str = ''  # '.png' | '.npy'
    shape: tuple[int, ...] = ()  # H, W, C
    bad: str = ''  # fault of a picture that cannot be read
    is_too_small: bool = False
    met_color: bool = False
    enlarged: bool = False
    profile: str = ''  # see Decoded
    was_transparent: bool = False  # a pixel is not opaque
    was_deep: bool = False  # the picture has 16 bits


def convert_picture(options: PictureOptions, job: PictureJob) -> Outcome:
    """Converts a picture. A bad picture is an outcome; an option that is missing or does not fit is a ConfigError."""
    if isinstance(job.payload, DataError):
        return Outcome(bad=str(job.payload))
    try:
        decoded = decode_picture(job.payload, job.where, options.bits, options.size)
    except DataError as error:
        return Outcome(bad=str(error))
    if job.mode_is_a_guess and (decoded.is_color or _gains_color(decoded, options)):
        return Outcome(met_color=True)
    pixels = to_bits(decoded.pixels, options.bits)
    was_transparent = _has_alpha(decoded) and bool((pixels[..., -1] < np.iinfo(pixels.dtype).max).any())
    pixels = _to_channels(decoded, pixels, job, options)
    has_alpha = options.alpha is None and not decoded.is_planes
    enlarged = False
    if options.size is None:
        _check_size(pixels, job.where)
    else:
        canvas = _canvas(pixels, options, has_alpha, job.where)
        fitted = fit(pixels, options.size, options.transform, options.resize_filter, has_alpha=has_alpha, canvas=canvas)
        if fitted is None:
            return Outcome(is_too_small=True)
        pixels, enlarged = fitted.pixels, fitted.enlarged
    data, extension = encode(pixels, as_planes=decoded.is_planes)
    return Outcome(
        data=data,
        extension=extension,
        shape=pixels.shape,
        enlarged=enlarged,
        profile=decoded.profile,
        was_transparent=was_transparent,
        was_deep=decoded.is_deep,
    )


def encode(pixels: np.ndarray, *, as_planes: bool) -> tuple[bytes, str]:
    """Encodes pixels [H, W, C] as a file of the data set; returns its contents and its extension.

    The format is PNG for 8 bits up to RGBA and for 16-bit gray, and .npy for the rest and for planes, none of which is
    alpha.
    """
    if not as_planes and pixels.shape[2] <= (4 if pixels.dtype == np.uint8 else 1):
        return encode_png(pixels), '.png'
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(pixels), version=(1, 0), allow_pickle=False)
    return file.getvalue(), '.npy'


def _has_alpha(decoded: Decoded) -> bool:
    """Whether the last channel is alpha."""
    return not decoded.is_planes and decoded.pixels.shape[2] in (2, 4)


def _gains_color(decoded: Decoded, options: PictureOptions) -> bool:
    """Whether a gray picture with transparency is composited over a color that is not gray."""
    return _has_alpha(decoded) and options.alpha is not None and len(set(options.alpha)) > 1


def _to_channels(decoded: Decoded, pixels: np.ndarray, job: PictureJob, options: PictureOptions) -> np.ndarray:
    """Converts pixels to the requested channels: the mode, with or without alpha. Planes do not change.

    Args:
        decoded: The picture as decoded.
        pixels: Its pixels at the requested bits, [H, W, C].
        job: The picture's job, with the mode.
        options: Options of all pictures.

    Raises:
        ConfigError: A mode was given for planes.
    """
    if decoded.is_planes:
        if options.mode != 'auto':
            count = pixels.shape[2]
            raise ConfigError(f'{job.where}: has {count} planes, which --mode={options.mode} cannot turn into colors')
        return pixels
    if options.alpha is None:
        return to_mode(with_alpha(pixels), job.mode)
    if _has_alpha(decoded):
        # The mode is converted first, so that gray over a color is surrounded by that color.
        return over(to_mode(pixels, job.mode), options.alpha)
    return to_mode(pixels, job.mode)


def _check_size(pixels: np.ndarray, where: str) -> None:
    """Raises ConfigError for a picture that keeps a size for which networks cannot be built."""
    height, width = pixels.shape[:2]
    if split_size(height, width) is None:
        fault = f'is {width}x{height}, a size that networks cannot be built for'
        option = f'--resolution={possible_size(height, width)}'
        raise ConfigError(f'{where}: {fault}. Give {option} with --transform=center-crop, pad or resize')


def _canvas(pixels: np.ndarray, options: PictureOptions, has_alpha: bool, where: str) -> list[int]:
    """Returns the color around a padded picture, in its own channels. With alpha, the default is transparent.

    Args:
        pixels: The picture, [H, W, C].
        options: Options of all pictures.
        has_alpha: Whether the last channel is alpha.
        where: Name of the file in messages.

    Returns:
        C numbers.

    Raises:
        ConfigError: A color was given for planes.
    """
    channels = pixels.shape[2]
    if options.pad_color is None:
        return [0] * channels
    if channels - has_alpha not in (1, 3):
        raise ConfigError(f'{where}: has {channels} planes; --pad-colour is for pictures, planes are padded with zeros')
    color = np.array([[[*options.pad_color, 255]]], np.uint8)  # [1, 1, 4]
    color = to_mode(color, 'L' if channels - has_alpha == 1 else 'RGB')[..., :channels]
    return [int(value) for value in to_bits(color, options.bits)[0, 0]]
