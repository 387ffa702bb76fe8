"""Target images of a projection: files of any kind, in the form that a network draws.

Letters: H and W height and width, C channels of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from dnnlib.regular_file import read_regular
from ganfoundry.class_option import parse_class
from ganfoundry.network import Network
from torch_utils.images import from_pixels
from training.data.convert.color import over, to_bits, to_mode, with_alpha
from training.data.convert.decode import SOURCE_EXTENSIONS, decode_picture
from training.data.convert.geometry import fit
from training.data.convert.options import WHITE, Transform
from training.data.zip_index import MAX_FILE_BYTES
from training.interface import ImageSpec

AUTO = 'auto'  # value of --class: the class of the nearest sample
Fit = Literal['crop', 'pad', 'stretch']
TRANSFORMS: dict[Fit, Transform] = {'crop': 'center-crop', 'pad': 'pad', 'stretch': 'resize'}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An image to find. name: of its outputs. pixels: uint8 or uint16 [C, H, W], as the network draws them."""

    name: str
    pixels: np.ndarray


def find_targets(paths: tuple[str, ...]) -> list[Path]:
    """Returns the image files of the values of --target: files as they are, and the images of folders by name.

    Raises:
        ConfigError: If a path does not exist, or if a folder has no images.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise ConfigError(f'--target={text}: no such file or folder')
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SOURCE_EXTENSIONS)
        if not files:
            raise ConfigError(f'--target={text}: a folder without images; expected {" ".join(SOURCE_EXTENSIONS)}')
        found += files
    return found


def names_of(paths: list[Path]) -> list[str]:
    """Returns a different name for each file: without its ending where that suffices, else with a number."""
    names: list[str] = []
    for path in paths:
        name, number = path.stem, 2
        while name in names:
            name, number = f'{path.stem}-{number}', number + 1
        names.append(name)
    return names


def read_target(path: Path, name: str, spec: ImageSpec, how: Fit) -> Target:
    """Reads an image file: upright, in sRGB, with the size, channels and bits of a network.

    Args:
        path: The file.
        name: Name of its outputs.
        spec: Facts of the images that the network draws.
        how: 'crop' cuts the largest centered rectangle, 'pad' adds a border, 'stretch' changes the proportions.

    Raises:
        DataError: If the file is no picture, or has other planes than the network.
        FileError: If the file cannot be read.
    """
    return fit_target(read_regular(path, MAX_FILE_BYTES), name, str(path), spec, how)


def fit_target(payload: bytes | np.ndarray, name: str, where: str, spec: ImageSpec, how: Fit) -> Target:
    """Fits an image to a network.

    Args:
        payload: Contents of a file, or pixels uint8 or uint16 [H, W, C].
        name: Name of its outputs.
        where: The file or argument, for messages.
        spec: Facts of the images that the network draws.
        how: As in `read_target`.

    Raises:
        DataError: If the image cannot be read, or has other planes than the network.
    """
    decoded = decode_picture(payload, where, spec.bits)
    pixels = to_bits(decoded.pixels, spec.bits)
    channels, num_planes = spec.channels, decoded.pixels.shape[2]
    if channels > 4 or decoded.is_planes:
        if num_planes != channels:
            raise DataError(f'{where}: has {num_planes} channels; this network draws {channels}')
        has_alpha = False
    else:
        has_alpha = channels in (2, 4)
        pixels = to_mode(pixels, 'L' if channels <= 2 else 'RGB')
        if has_alpha:
            pixels = with_alpha(pixels)
        elif pixels.shape[2] in (2, 4):
            pixels = over(pixels, WHITE)
    fitted = fit(
        pixels,
        (spec.height, spec.width),
        TRANSFORMS[how],
        'lanczos',
        has_alpha=has_alpha,
        canvas=[0] * pixels.shape[2],
    )
    assert fitted is not None  # no transform of TRANSFORMS leaves a picture out
    return Target(name=name, pixels=np.ascontiguousarray(fitted.pixels.transpose(2, 0, 1)))


def label_of(text: int | str | None, network: Network, option: str = '--class') -> torch.Tensor | None:
    """Returns the label [1, label_dim] of all targets; None for 'auto' and a conditional network.

    Args:
        text: The value of --class.
        network: The network.
        option: Name of the option or argument in messages.

    Raises:
        ConfigError: If a class is missing, or if the network does not have it.
    """
    c_dim, names = network.spec.label_dim, network.class_names
    if text == AUTO and c_dim > 0 and AUTO not in names:
        return None
    return parse_class(text, c_dim, names, option).c[None]


def as_batch(targets: Sequence[Target], device: torch.device) -> torch.Tensor:
    """Returns the targets as a network would draw them, float32 [N, C, H, W] in [-1, 1]."""
    return from_pixels(torch.from_numpy(np.stack([target.pixels for target in targets]))).to(device)
