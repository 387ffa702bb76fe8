"""StyleGAN3's running averages move with the generated images of D's main phase, and with no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.narrow import narrow
from training.build import build
from training.config import RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.registry import RECIPES
from training.step import TrainStep

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def dataset() -> ImageDataset:
    return ImageDataset(DataConfig(resolution=32))


def config(name: str, dataset: ImageDataset) -> RunConfig:
    return narrow(RECIPES.get(name).make(dataset.spec, 1))


@pytest.mark.parametrize('name', ['stylegan3-t', 'stylegan3-r'])
def test_averages_move_in_the_main_phase_of_d_alone(name: str, dataset: ImageDataset) -> None:
    cfg = config(name, dataset)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    img = torch.from_numpy(np.stack([dataset.image(i) for i in range(cfg.batch)]))
    micros = step.split(img, torch.zeros([cfg.batch, 0]))
    averages = [key for key, _ in state.G.named_buffers() if key.endswith(('magnitude_ema', 'w_avg'))]
    assert len(averages) == state.G.num_ws
    assert [phase.name for phase in step.phases] == ['Gmain', 'Dmain', 'Dreg']
    for phase in step.phases:
        before = {key: value.clone() for key, value in state.G.state_dict().items()}
        step.run_phase(phase, micros)
        moved = [key for key in averages if not torch.equal(state.G.state_dict()[key], before[key])]
        assert moved == (averages if phase.name == 'Dmain' else [])


def test_r_blurs_until_200_kimg_and_t_never(dataset: ImageDataset) -> None:
    img = torch.rand(2, 3, 32, 32)
    for name, nimg, is_blurred in (
        ('stylegan3-t', 0, False),
        ('stylegan3-r', 0, True),
        ('stylegan3-r', 200_000, False),
    ):
        cfg = config(name, dataset)
        state = build(cfg, dataset.spec, CPU)
        state.nimg = nimg
        assert (TrainStep(cfg, state, dataset, CPU).view(img) is not img) == is_blurred
