"""TensorBoard: event files with numbers and sheets in RUN/tensorboard, besides those that training writes to RUN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.run.board import Board


class TensorBoardLogger:
    """An event file per launch in RUN/tensorboard; a later segment has a folder of its own there."""

    def __init__(self) -> None:
        self._board: Board | None = None

    def start(self, record: Mapping[str, Any]) -> None:
        log = record['log']
        folder = Path(log['folder'], 'tensorboard')
        if log['segment'] > 1:
            folder /= f'segment-{log["segment"]}'
        folder.mkdir(parents=True, exist_ok=True)
        self._board = Board(folder)

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        assert self._board is not None
        self._board.add(dict(values), nimg)

    def image(self, name: str, path: Path, nimg: int) -> None:
        assert self._board is not None
        self._board.add_picture(name, path, nimg)

    def finish(self, state: str) -> None:
        assert self._board is not None
        self._board.close()
