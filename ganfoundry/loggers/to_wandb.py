"""Weights & Biases. Its own settings hold: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE, WANDB_API_KEY."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WandbLogger:
    """A W&B run per segment, in the project `ganfoundry` by default; the segments of a run are a group.

    The x-axis of all charts is `nimg`. W&B's step is the number of images, too; it cannot decrease, so a metric of an
    older snapshot has the next free step.
    """

    def __init__(self) -> None:
        self._run: Any = None
        self._step = 0

    def start(self, record: Mapping[str, Any]) -> None:
        import wandb

        log = record['log']
        settings = wandb.Settings(
            console='off',
            init_timeout=60,  # a lost network is then named before the time limit of the process
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=os.environ.get('WANDB_PROJECT', 'ganfoundry'),
            id=log['id'],
            name=log['name'],
            group=log['group'],
            config={name: value for name, value in record.items() if name != 'log'},
            dir=log['folder'],
            mode=log['mode'],
            resume='allow',
            allow_val_change=True,
            settings=settings,
        )
        self._run.define_metric('nimg')
        self._run.define_metric('*', step_metric='nimg')
        self._step = self._run.step

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        self._log(values, nimg)

    def image(self, name: str, path: Path, nimg: int) -> None:
        import wandb

        self._log({name: wandb.Image(str(path))}, nimg)

    def finish(self, state: str) -> None:
        self._run.finish(exit_code=1 if state == 'failed' else 0)

    def _log(self, values: Mapping[str, Any], nimg: int) -> None:
        self._step = nimg if nimg >= self._step else self._step + 1
        self._run.log({**values, 'nimg': nimg}, step=self._step)
