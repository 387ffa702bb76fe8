"""Animated GIF and WebP files and folders of PNGs, written frame by frame with Pillow alone.

Pillow writes an animation from all of its frames at once, so that memory grows with the length. Here each frame is
encoded by Pillow as an image of its own, and its compressed data go into the container at once.
Sources: GIF89a specification; "WebP Container Specification" (RFC 9649, section 2.7).
Letters: H and W height and width of a frame, C channels.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import PIL.Image

from dnnlib.errors import ConfigError
from dnnlib.files import atomic_path, write_json
from dnnlib.log import print_note
from ganfoundry.films import STOPS
from torch_utils.images import save_png

GIF_HEADER, GIF_SCREEN = 6, 7  # bytes of the signature and of the logical screen descriptor
GIF_LOOP = b'\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00'  # application extension: repeat for ever
GIF_MIN_DELAY = 2  # hundredths of a second; viewers slow a shorter delay down to 10
WEBP_SIGNATURE = 12  # bytes of 'RIFF', size, 'WEBP'


class Animation(ABC):
    """Context manager that writes frames into one file, which appears at the end under its name.

    After an error there is no file. After Ctrl-C (`films.STOPS`) it holds the frames so far, and can be played. The
    comment is written next to the file, as FILE.json.

    Args:
        path: The file.
        fps: Frames per second.
        comment: JSON text that says how the frames were made.
        note: Receives lines about what the format cannot hold.
    """

    def __init__(self, path: Path, *, fps: int, comment: str = '{}', note: Callable[[str], None] = print_note) -> None:
        self.path, self.fps, self.num_frames = path, fps, 0
        self._comment, self._note = comment, note
        self._files = contextlib.ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        if kind is not None and not issubclass(kind, STOPS):
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            self._finish(self._file)
        write_json(self.path.with_name(self.path.name + '.json'), json.loads(self._comment))

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 [H, W, C], C = 1 for gray or 3 for RGB. All frames have one size."""
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        picture = PIL.Image.fromarray(np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3))))
        if self._file is None:
            self._file = self._files.enter_context(self._files.enter_context(atomic_path(self.path)).open('w+b'))
            self._begin(self._file, picture)
        self._append(self._file, picture)
        self.num_frames += 1

    @abstractmethod
    def _begin(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        """Writes what comes before the first frame."""

    @abstractmethod
    def _append(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        """Writes a frame."""

    @abstractmethod
    def _finish(self, file: BinaryIO) -> None:
        """Writes what comes after the last frame."""


class Gif(Animation):
    """Animated GIF: 256 colors per frame, each with a palette of its own, without dithering, repeated for ever.

    Delays are whole hundredths of a second, at least 2. Where the rate needs others, they alternate between the two
    nearest, so that the film keeps its length.
    """

    def _begin(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        if self.fps > 100 // GIF_MIN_DELAY:
            self._note(f'{self.path}: a GIF shows at most {100 // GIF_MIN_DELAY} frames per second, not {self.fps}')
        file.write(b'GIF89a' + struct.pack('<HHBBB', *picture.size, 0x70, 0, 0) + GIF_LOOP)

    def _append(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        encoded = io.BytesIO()
        quantized = picture.quantize(256, method=PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE)
        quantized.save(encoded, 'GIF', optimize=False, interlace=0)
        palette, descriptor, data = gif_parts(encoded.getvalue())
        n = self.num_frames
        delay = max(round(100 * (n + 1) / self.fps) - round(100 * n / self.fps), GIF_MIN_DELAY)
        size = (len(palette) // 3).bit_length() - 2  # the palette has 2^(size + 1) colors
        file.write(b'\x21\xf9\x04\x04' + struct.pack('<H', delay) + b'\x00\x00')  # graphic control extension
        file.write(descriptor[:9] + bytes([0x80 | size]) + palette + data)

    def _finish(self, file: BinaryIO) -> None:
        file.write(b'\x3b')


def gif_parts(gif: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns the palette, the image descriptor (10 bytes) and the compressed data of a GIF of one image."""
    flags = gif[GIF_HEADER + 4]
    assert flags & 0x80  # a global palette
    begin = GIF_HEADER + GIF_SCREEN
    position = begin + 3 * 2 ** ((flags & 7) + 1)
    palette = gif[begin:position]
    while (
        gif[position] == 0x21
    ):  # extensions: a label, then blocks of a length and so many bytes, until one of length 0
        position += 2
        while gif[position]:
            position += 1 + gif[position]
        position += 1
    assert gif[position] == 0x2C
    return palette, gif[position : position + 10], gif[position + 10 : -1]


class WebP(Animation):
    """Animated lossless WebP, repeated for ever. Delays are whole milliseconds whose sum keeps the film's length."""

    def _begin(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        width, height = picture.size
        canvas = struct.pack('<I', width - 1)[:3] + struct.pack('<I', height - 1)[:3]
        file.write(b'RIFF\0\0\0\0WEBP')
        file.write(riff_chunk(b'VP8X', b'\x02\0\0\0' + canvas))  # 2: has an animation
        file.write(riff_chunk(b'ANIM', b'\0\0\0\0' + b'\0\0'))  # background color; 0: repeat for ever

    def _append(self, file: BinaryIO, picture: PIL.Image.Image) -> None:
        encoded = io.BytesIO()
        picture.save(encoded, 'WEBP', lossless=True, quality=50, method=2)
        n = self.num_frames
        delay = round(1000 * (n + 1) / self.fps) - round(1000 * n / self.fps)
        width, height = picture.size
        place = b''.join(struct.pack('<I', value)[:3] for value in (0, 0, width - 1, height - 1, delay))
        bitstream = encoded.getvalue()[WEBP_SIGNATURE:]  # one VP8L chunk
        assert bitstream[:4] == b'VP8L'
        file.write(riff_chunk(b'ANMF', place + b'\x02' + bitstream))  # 2: not blended with the frame before

    def _finish(self, file: BinaryIO) -> None:
        size = file.tell()
        file.seek(4)
        file.write(struct.pack('<I', size - 8))


def riff_chunk(name: bytes, data: bytes) -> bytes:
    """Returns a RIFF chunk: name, length, data, and a zero where the length is odd."""
    return name + struct.pack('<I', len(data)) + data + b'\0' * (len(data) % 2)


class FrameFolder:
    """Context manager that writes frame000000.png, frame000001.png, ... and at the end frames.json, the comment.

    After Ctrl-C or an error the frames so far remain; each is whole.

    Args:
        path: A new or an empty folder.
        fps: Frames per second, for frames.json.
        comment: JSON text that says how the frames were made.

    Raises:
        ConfigError: If the folder has files in it.
    """

    def __init__(self, path: Path, *, fps: int, comment: str = '{}') -> None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f'{path}: frames need a new or an empty folder; name another')
        self.path, self.fps, self.num_frames = path, fps, 0
        self._comment = comment

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.num_frames:
            write_json(self.path / 'frames.json', {'fps': self.fps, **json.loads(self._comment)})

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 [H, W, C], C = 1 for gray or 3 for RGB."""
        self.path.mkdir(parents=True, exist_ok=True)
        save_png(frame.transpose(2, 0, 1), self.path / f'frame{self.num_frames:06d}.png')
        self.num_frames += 1
