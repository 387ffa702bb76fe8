"""Training steps for tests: tiny networks of the StyleGAN2 family on tiny images."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import torch

from training.augment.config import AugmentConfig
from training.build import build
from training.config import RunConfig
from training.data.dataset import ImageDataset
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.recipes import auto
from training.state import TrainState
from training.step import TrainStep

CPU = torch.device('cpu')
WIDTHS = {'channel_base': 64, 'channel_max': 8}


def tiny(dataset: ImageDataset, **changes: Any) -> RunConfig:
    """Returns `auto` without augmentation and with two micro-batches of two images."""
    return dataclasses.replace(
        dataclasses.replace(auto(dataset.spec, 1), aug=AugmentConfig()),
        generator=StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=1, **WIDTHS),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_group=2, **WIDTHS),
        batch=4, batch_gpu=2, kimg=1, **changes,
    )  # fmt: skip


def train(
    cfg: RunConfig, dataset: ImageDataset, steps: int, state: TrainState | None = None
) -> tuple[TrainState, TrainStep]:
    """Trains on random images, which are functions of the step's number alone.

    Args:
        cfg: Config.
        dataset: Data set; its spec gives the shape of the images.
        steps: Number of steps.
        state: State to train; by default a new one.
    """
    state = state or build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    draw = torch.Generator().manual_seed(5)
    size, c = (dataset.spec.channels, dataset.spec.height, dataset.spec.width), torch.zeros(4, dataset.spec.label_dim)
    batches = [torch.randint(0, 256, [4, *size], dtype=torch.uint8, generator=draw) for _ in range(16)]
    for img in batches[state.step : state.step + steps]:
        step(img, c)
    return state, step


def resumed(cfg: RunConfig, dataset: ImageDataset, half: TrainState, steps: int) -> TrainState:
    """Trains a copy of a state, as it is loaded from disk.

    Args:
        cfg: Config.
        dataset: Data set.
        half: The state.
        steps: Number of further steps.
    """
    state = build(cfg, dataset.spec, CPU)
    state.load(copy.deepcopy(half.tensors()), json.loads(json.dumps(half.scalars())), 'test')
    return train(cfg, dataset, steps, state)[0]


def assert_same(a: TrainState, b: TrainState) -> None:
    """Asserts that two states are equal in every bit."""
    assert a.scalars() == b.scalars()
    assert a.tensors().keys() == b.tensors().keys()
    for name, value in a.tensors().items():
        assert torch.equal(b.tensors()[name], value), name


def assert_resumes(cfg: RunConfig, dataset: ImageDataset, before: int, after: int) -> TrainState:
    """Asserts that a run that was stopped ends with the same bits, and returns its end.

    Args:
        cfg: Config.
        dataset: Data set.
        before: Number of steps before the stop.
        after: Number of steps after it.
    """
    whole, _ = train(cfg, dataset, before + after)
    half, _ = train(cfg, dataset, before)
    assert_same(resumed(cfg, dataset, half, after), whole)
    return whole
