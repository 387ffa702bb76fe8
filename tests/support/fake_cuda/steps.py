"""Training steps on fake CUDA tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch

from tests.support.fake_cuda.counter import Counter
from tests.support.fake_cuda.mode import FakeCuda
from tests.support.fake_cuda.stubs import Event
from torch_utils.devices import prepare
from training.build import build
from training.config import RunConfig
from training.interface import ImageSpec
from training.step import Phase, TrainStep

CUDA = torch.device('cuda')


class CountedStep(TrainStep):
    """A training step that names its phases to a counter."""

    counter: Counter

    def run_phase(self, phase: Phase, micros: list) -> None:
        self.counter.phase = phase.name
        super().run_phase(phase, micros)
        self.counter.phase = 'rest'


def count_step(cfg: RunConfig, spec: ImageSpec, by_place: bool = False) -> tuple[Counter, dict[str, int]]:
    """Counts a step in which every phase runs, after a first one that warms up.

    Args:
        cfg: Config of the run, of a single process.
        spec: Facts of the images, without labels.
        by_place: Whether costs are counted by place, too, which takes longer.

    Returns:
        The counter, and the interval of every phase in steps, 1 for the rest of a step.
    """
    counter = Counter()
    prepare(CUDA, benchmark=cfg.benchmark, allow_tf32=cfg.allow_tf32, deterministic=cfg.deterministic)
    with FakeCuda(counter):
        step = CountedStep(cfg, build(cfg, spec, CUDA), SimpleNamespace(spec=spec), CUDA)
        step.counter = counter
        run = runner(step)
        run()
        step.state.step = math.lcm(*(phase.interval for phase in step.phases))
        counter.clear()
        counter.by_place = by_place
        with torch.autograd.set_detect_anomaly(by_place, check_nan=False):
            run()
    return counter, {phase.name: phase.interval for phase in step.phases} | {'rest': 1}


def runner(step: TrainStep) -> Callable[[], None]:
    """Returns a function that trains one step on black images of the host, this process's share of them."""
    spec, size = step.dataset.spec, step.cfg.batch // step.cfg.gpus
    img = torch.zeros([size, spec.channels, spec.height, spec.width], dtype=torch.uint8)
    c = torch.zeros([size, spec.label_dim])
    for_G = (img, c) if step.cfg.fresh_reals else None

    def run() -> None:
        Event.step += 1
        step(img, c, for_G)

    return run
