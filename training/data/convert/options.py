"""Options of a conversion, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnnlib.errors import ConfigError
from training.data.shapes import nearest_size, split_size

Transform = Literal['resize', 'center-crop', 'center-crop-wide', 'pad']
Filter = Literal['lanczos', 'bicubic', 'box']
Labels = Literal['json', 'folders', 'none']
Mode = Literal['auto', 'L', 'RGB']
Split = Literal['train', 'test', 'all']
Color = tuple[int, int, int]  # red, green, blue, 0 to 255

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureOptions:
    """The options that apply to each picture. Every worker process receives them."""

    size: tuple[int, int] | None = None  # requested height and width; None keeps those of the pictures
    transform: Transform | None = None  # None: resize if there is a size
    resize_filter: Filter = 'lanczos'
    mode: Mode = 'auto'  # 'auto': gray if all pictures are, else RGB
    alpha: Color | None = WHITE  # color under transparent pixels; None keeps the alpha channel
    pad_color: Color | None = None  # around padded pictures; None: black, transparent if alpha is kept
    bits: int = 8  # per channel: 8 or 16

    def __post_init__(self) -> None:
        if self.bits not in (8, 16):
            raise ConfigError(f'--bits={self.bits}: must be 8 or 16')
        if self.transform and self.size is None:
            raise ConfigError(f'--transform={self.transform} needs --resolution=WxH, the size of the pictures written')
        if self.pad_color is not None and self.transform != 'pad':
            raise ConfigError('--pad-colour is the color around pictures that --transform=pad adds; give both')
        if self.size is None:
            return
        height, width = self.size
        if self.transform == 'center-crop-wide':
            if height > width:
                raise ConfigError(f'--transform=center-crop-wide: {width}x{height} is not wide; swap width and height')
            _check_size(width, width, f'--resolution={width}x{height} with center-crop-wide, which makes squares')
        else:
            _check_size(height, width, f'--resolution={width}x{height}')

    @property
    def written_size(self) -> tuple[int, int] | None:
        """Height and width of the files written; None if they are those of the pictures."""
        if self.size is not None and self.transform == 'center-crop-wide':
            return self.size[1], self.size[1]
        return self.size


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """The options of a whole conversion."""

    source: str
    dest: str
    picture: PictureOptions = PictureOptions()
    labels: Labels = 'json'  # 'json': labels of the source; 'folders': its top folders are the classes
    classes: str | None = None  # names or numbers of the classes to take, separated by commas; None: all
    split: Split | None = None  # split of a CIFAR archive; None: 'train'
    max_images: int | None = None  # number of pictures: the first ones, or with shuffle_seed a random choice
    shuffle_seed: int | None = None
    num_workers: int | None = None  # processes; 1: this one; None: one per core, or this one for little work
    drop_duplicates: bool = False  # leave out pictures with the same pixels as one before
    strict: bool = False  # stop at a bad picture instead of leaving it out

    def __post_init__(self) -> None:
        for name, value in (('--source', self.source), ('--dest', self.dest)):
            if not value:
                raise ConfigError(f'{name} is empty; see python dataset_tool.py --help')
        for name, number in (('--max-images', self.max_images), ('--workers', self.num_workers)):
            if number is not None and number < 1:
                raise ConfigError(f'{name}={number}: must be at least 1')
        if self.classes is not None and self.labels == 'none':
            raise ConfigError(f'--classes={self.classes}: chooses by labels, and --labels=none has none; drop one')
        if self.shuffle_seed is not None and self.max_images is None:
            raise ConfigError('--shuffle-seed chooses which --max-images pictures are taken; give both')
        if self.shuffle_seed is not None and not 0 <= self.shuffle_seed < 2**32:
            raise ConfigError(f'--shuffle-seed={self.shuffle_seed}: must be from 0 to {2**32 - 1}')


def possible_size(height: int, width: int) -> str:
    """Returns a size WxH near this one that can be trained on, for messages."""
    near_height, near_width = nearest_size(height, width)
    return f'{near_width}x{near_height}'


def _check_size(height: int, width: int, option: str) -> None:
    """Checks that networks can be built for a size in pixels.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        option: Option of the command line, for the message.

    Raises:
        ConfigError: They cannot.
    """
    if split_size(height, width) is None:
        near = possible_size(height, width)
        raise ConfigError(f'{option}: networks cannot be built for {width}x{height}; the nearest size is {near}')
