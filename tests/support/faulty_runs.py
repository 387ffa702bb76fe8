"""Short runs in this process, in which tests make things go wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dnnlib.log import Log
from tests.support.runs import make_zip
from tests.support.steps import CPU, tiny
from torch_utils import checkpoint
from torch_utils.distributed import World
from training.build import build
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.loop import Loop
from training.record import to_record
from training.run.run_folder import RunFolder
from training.run.sheets import SampleSheet
from training.state import TrainState
from training.step import TrainStep


class Run:
    """A run of 10 steps of 4 images in a folder: a tick every 8 images, a snapshot every second tick."""

    def __init__(self, path: Path, **changes: Any) -> None:
        path.mkdir(parents=True)
        data = make_zip(path / 'tiny.zip', num_images=16)
        self.dataset = ImageDataset(DataConfig(path=str(data), resolution=8))
        short = {'tick': 0.008, 'snap': 2, 'save_every_s': 0.0, 'grid_images': 4, 'metrics': ('fd',)}
        self.cfg: RunConfig = dataclasses.replace(tiny(self.dataset), **(short | changes))
        self.folder = RunFolder(path / 'run')
        self.folder.path.mkdir()

    def go(
        self,
        prepare: Callable[[TrainState], object] = lambda state: None,
        evaluate: Any = None,
        stop: Callable[[TrainState], bool] = lambda state: False,
        world: World | None = None,
    ) -> TrainState:
        """Trains from the newest state to the end, or until a request to stop.

        Args:
            prepare: Called with the loaded state before training.
            evaluate: Measures snapshots, as in `Loop`.
            stop: Whether the run is asked to stop.
            world: The processes, all of which call this function.
        """
        world = world or World()
        state = build(self.cfg, self.dataset.spec, CPU)
        if checkpoint.list_states(self.folder.states):
            path = self.folder.newest_state(pytest.fail)
            state.load(*checkpoint.load_state(path), where=str(path))
        if world.leads:
            self.folder.rewind(state.nimg)
        prepare(state)
        with (
            pytest.MonkeyPatch.context() as patch,
            Log(self.folder.path / 'log.txt', rank=world.rank) as log,
            data_loader(
                self.dataset,
                start_nimg=state.data_position,
                batch_size=4,
                seed=0,
                num_workers=0,
                rank=world.rank,
                world=world.size,
            ) as batches,
        ):
            patch.setattr(Loop, 'end_nimg', property(lambda loop: 40))
            Loop(
                cfg=self.cfg, record=to_record(self.cfg, self.dataset.spec), state=state,
                step=TrainStep(self.cfg, state, self.dataset, CPU, world),
                sheet=SampleSheet(self.dataset, 8, 0, 4) if world.leads else None, folder=self.folder, log=log,
                evaluate=evaluate if world.leads else None, stop=lambda: stop(state), world=world,
            ).run(batches)  # fmt: skip
        return state

    @property
    def log(self) -> str:
        """Text of log.txt."""
        return (self.folder.path / 'log.txt').read_text()


def poison(state: TrainState, when: Callable[[TrainState], bool], value: float = float('nan')) -> None:
    """Adds a number to a gradient of D.

    Args:
        state: State of the run.
        when: Whether the gradient of this moment is changed.
        value: The number.
    """
    weight = state.D.b8.conv0.weight.requires_grad_(True)
    weight.register_hook(lambda gradient: gradient + value if when(state) else gradient)
    weight.requires_grad_(False)
