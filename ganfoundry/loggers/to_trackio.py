"""trackio, which stores runs on this machine or, with TRACKIO_SPACE_ID, in a Space of Hugging Face."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TrackioLogger:
    """A trackio run per segment, in the project `ganfoundry` by default. Steps are numbers of images."""

    def __init__(self) -> None:
        self._trackio: Any = None

    def start(self, record: Mapping[str, Any]) -> None:
        import trackio

        log = record['log']
        if log['mode'] == 'offline':
            os.environ.pop('TRACKIO_SPACE_ID', None)
        self._trackio = trackio
        trackio.init(
            project=os.environ.get('TRACKIO_PROJECT', 'ganfoundry'),
            name=log['name'],
            group=log['group'],
            config={name: value for name, value in record.items() if name != 'log'},
            resume='allow',
            embed=False,
        )

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self._trackio.log(dict(values), step=nimg)

    def image(self, name: str, path: Path, nimg: int) -> None:
        self._trackio.log({name: self._trackio.Image(str(path))}, step=nimg)

    def finish(self, state: str) -> None:
        self._trackio.finish()
