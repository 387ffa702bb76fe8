"""Event files of TensorBoard, written by the caller's own thread.

`torch.utils.tensorboard` writes in a thread of its own, whose errors (a full disk, a run folder that was renamed) end
in a traceback on the screen and cannot be handled. Here every error is raised where it can be reported.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import socket
import time
from pathlib import Path

import PIL.Image

from dnnlib.regular_file import open_regular

MAX_SIDE = 1024  # pixels of a picture: the sheets themselves are in the run folder

_number = itertools.count()  # two files of one process within a second have two names


class Board:
    """Writer of one event file.

    Args:
        folder: Folder of the file, which TensorBoard searches.

    Raises:
        ImportError: If TensorBoard is not installed.
        OSError: If the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f'events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number):04d}'
        self._records = RecordWriter((folder / name).open('ab'))
        self._write(Event(wall_time=time.time(), file_version='brain.Event:2'))

    def add(self, scalars: dict[str, float], step: int) -> None:
        """Writes numbers by name as points at a step. Raises OSError."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def add_picture(self, name: str, path: Path, step: int) -> None:
        """Writes a picture of a file at a step, scaled down to `MAX_SIDE` pixels on a side. Raises OSError."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        with open_regular(path) as file, PIL.Image.open(file, formats=['PNG']) as picture:
            picture.thumbnail((MAX_SIDE, MAX_SIDE), PIL.Image.Resampling.LANCZOS)
            data = io.BytesIO()
            picture.save(data, 'PNG')
            image = Summary.Image(
                width=picture.width,
                height=picture.height,
                colorspace=len(picture.getbands()),
                encoded_image_string=data.getvalue(),
            )
        values = [Summary.Value(tag=name, image=image)]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: object) -> None:
        self._records.write(event.SerializeToString())  # type: ignore[attr-defined]
        self._records.flush()

    def close(self) -> None:
        """Closes the file. What a full disk has left in the buffer is lost."""
        with contextlib.suppress(OSError):
            self._records.close()
