"""A loop of a tiny run in this process."""

from __future__ import annotations

import dataclasses

import torch

from dnnlib.log import Log
from tests.support.runs import make_zip
from torch_utils import checkpoint
from training.build import build
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.loop import Loop
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.recipes import auto
from training.record import to_record
from training.run.run_folder import RunFolder
from training.run.sheets import SampleSheet
from training.step import TrainStep

CPU = torch.device('cpu')


WIDTHS = {'channel_base': 128, 'channel_max': 8}


class Scores:
    """Evaluator that returns prepared values of a metric, or raises them."""

    names = ('fd',)

    def __init__(self, *values):
        self.values = list(values)
        self.measured = 0

    def __call__(self, G_ema, names):
        value = self.values[self.measured]
        self.measured += 1
        if isinstance(value, Exception):
            raise value
        yield 'fd', {'results': {'fd': value}, 'metric': 'fd'}

    def lower_is_better(self, name):
        return True


def loops_in(tmp_path, **changes):
    """Returns a function that runs the loop of a tiny run in a folder; the caller restores `Loop.end_nimg`.

    `changes` are fields of its config. The run has 32 steps of 4 images, a tick per 8 images, a snapshot per 2 ticks.
    """
    data = make_zip(tmp_path / 'tiny.zip', num_images=16)
    dataset = ImageDataset(DataConfig(path=str(data), resolution=8))
    cfg = dataclasses.replace(
        auto(dataset.spec, 1),
        generator=StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=1, conv_clamp=None, **WIDTHS),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_group=4, conv_clamp=None, **WIDTHS),
        batch=4, batch_gpu=4, kimg=1, tick=0.008, snap=2, save_every_s=0.0, grid_images=4, metrics=('fd',),
    )  # fmt: skip
    cfg = dataclasses.replace(cfg, **changes)
    folder = RunFolder(tmp_path / 'run')
    folder.path.mkdir()

    def make(evaluate=None, end_nimg=64, stop=lambda: False, prepare=lambda state: None):
        state = build(cfg, dataset.spec, CPU)
        if checkpoint.list_states(folder.states):
            path = folder.newest_state(lambda text: None)
            state.load(*checkpoint.load_state(path), where=str(path))
        folder.rewind(state.nimg)
        prepare(state)
        log = Log(folder.path / 'log.txt')
        loop = Loop(
            cfg=cfg, record=to_record(cfg, dataset.spec), state=state, step=TrainStep(cfg, state, dataset, CPU),
            sheet=SampleSheet(dataset, 8, 0, 4), folder=folder, log=log, evaluate=evaluate, stop=stop,
        )  # fmt: skip
        type(loop).end_nimg = property(lambda self: end_nimg)
        with data_loader(dataset, start_nimg=state.data_position, batch_size=4, seed=0, num_workers=0) as batches, log:
            done = loop.run(batches)
        return loop, done

    return make
