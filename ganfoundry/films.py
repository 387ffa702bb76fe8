"""Video files that are written frame by frame: H.264 in .mp4, VP9 in .webm, lossless FFV1 in .mkv.

The same frames give the same bytes on every machine with the same PyAV: the number of encoder threads is fixed, and no
time is stored. Letters: H and W height and width of a frame, C channels.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dnnlib.errors import ConfigError
from dnnlib.files import atomic_path
from dnnlib.log import print_note
from dnnlib.signals import StopRequested

THREADS = 4  # threads of the encoder, on which its bytes depend
STOPS = (KeyboardInterrupt, StopRequested)  # exceptions after which the frames so far are kept
BT709 = 1  # code of ITU-R BT.709 in the headers of H.264 and VP9: matrix, primaries, transfer curve


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """An encoder as FFmpeg names it.

    Attributes:
        name: Name of the encoder.
        container: Format of the file.
        pixels: Pixel format of the stream.
        has_crf: Whether the encoder has a constant quality; otherwise it is lossless.
        options: Further options of the encoder.
    """

    name: str
    container: str
    pixels: str
    has_crf: bool
    options: tuple[tuple[str, str], ...] = ()


CODECS = {
    '.mp4': Codec(name='libx264', container='mp4', pixels='yuv420p', has_crf=True),
    '.webm': Codec(name='libvpx-vp9', container='webm', pixels='yuv420p', has_crf=True, options=(('b', '0'),)),
    '.mkv': Codec(name='ffv1', container='matroska', pixels='bgr0', has_crf=False, options=(('level', '3'),)),
}


def codec_of(path: Path) -> Codec:
    """Returns the codec of a file by its ending.

    Raises:
        ConfigError: If the ending is unknown, or if PyAV is not installed.
    """
    codec = CODECS.get(path.suffix.lower())
    if codec is None:
        raise ConfigError(f'{path}: a video ends in {", ".join(CODECS)}')
    if importlib.util.find_spec('av') is None:
        raise ConfigError(f'{path}: videos need PyAV: pip install "ganfoundry[video]"')
    return codec


def even_size(frame: np.ndarray) -> np.ndarray:
    """Repeats the last row or column of a frame [H, W, C] where H or W is odd, as yuv420p needs."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')


class Film:
    """Context manager that writes a video; memory does not grow with its length, and frames are never rescaled.

    The file appears under its name at the end. After an error there is none. After Ctrl-C (`STOPS`) it holds the frames
    so far, and can be played.

    Args:
        path: The file; its ending decides the codec.
        fps: Frames per second.
        crf: Constant rate factor of H.264 and VP9: smaller is better and larger.
        comment: Text of the metadata field `comment`.
        note: Receives the line about padding.

    Raises:
        ConfigError: As `codec_of`.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: int,
        crf: int = 17,
        comment: str = '',
        note: Callable[[str], None] = print_note,
    ) -> None:
        self.path, self.num_frames = path, 0
        self._codec, self._fps, self._crf, self._comment, self._note = codec_of(path), fps, crf, comment, note
        self._files = contextlib.ExitStack()
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        if kind is None or issubclass(kind, STOPS):
            with self._files:
                for packet in self._stream.encode():
                    self._container.mux(packet)
                self._container.close()
        else:
            self._container.close()
            self._files.__exit__(kind, error, trace)

    def add(self, frame: np.ndarray) -> None:
        """Appends a frame, uint8 [H, W, C], C = 1 for gray or 3 for RGB. All frames have one size."""
        import av

        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        pixels = even_size(frame) if self._codec.pixels == 'yuv420p' else frame
        if self._container is None:
            self._open(frame.shape, pixels.shape)
        assert pixels.shape[:2] == (self._stream.height, self._stream.width)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
        if self._codec.pixels == 'yuv420p':
            picture = picture.reformat(format='yuv420p', dst_colorspace='ITU709')
        else:
            picture = picture.reformat(format=self._codec.pixels)
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self.num_frames += 1

    def _open(self, shape: tuple[int, ...], padded: tuple[int, ...]) -> None:
        """Begins the file. shape, padded: size of a frame [H, W, C] as given, and as stored."""
        import av

        codec = self._codec
        if shape != padded:
            sizes = f'{shape[1]}x{shape[0]} becomes {padded[1]}x{padded[0]}'
            self._note(f'{self.path}: {codec.pixels} needs even sizes; an edge is repeated, {sizes}')
        tmp = self._files.enter_context(atomic_path(self.path))
        options = {'movflags': 'use_metadata_tags'} if codec.container == 'mp4' else {}
        self._container = av.open(str(tmp), 'w', format=codec.container, options={**options, 'fflags': '+bitexact'})
        self._container.metadata['comment'] = self._comment
        quality = {'crf': str(self._crf)} if codec.has_crf else {}
        self._stream = self._container.add_stream(
            codec.name, rate=self._fps, options={**quality, **dict(codec.options)}
        )
        self._stream.height, self._stream.width = padded[:2]
        self._stream.pix_fmt = codec.pixels
        context = self._stream.codec_context
        context.thread_count = THREADS
        if codec.pixels == 'yuv420p':
            context.colorspace = context.color_primaries = context.color_trc = BT709
