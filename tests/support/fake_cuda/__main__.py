"""One training step per --cfg on fake CUDA tensors, on a machine without a GPU.

    python -m tests.support.fake_cuda [NAME ...]
    python -m tests.support.fake_cuda auto:lecam.weight=1,gp.weight=1

Prints the planted mistakes that were caught, then one line of JSON per --cfg: {"cfg", "phases", "problem"}. A colon and
PATH=VALUE,... after a name set config fields. Fake tensors have the shapes, dtypes, memory formats and autograd of a
GPU, but no numbers. An operation on tensors of two devices raises. In a step after the first, so does every place where
the host waits for the device: reading a number, and copying without `non_blocking`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.support.fake_cuda import guard

if TYPE_CHECKING:
    import torch

    from training.config import RunConfig


def config(name: str, spec: Any, narrow: Callable[[RunConfig], RunConfig]) -> RunConfig:
    """Returns the recipe with narrow networks, adaptive augmentation and bf16; `auto` has two micro-batches.

    Args:
        name: A --cfg, or 'CFG:PATH=VALUE,...' with config fields to set.
        spec: Facts of the data set.
        narrow: Function that makes the networks of a config small.
    """
    from training.augment.config import AugmentConfig
    from training.config import apply_overrides, with_precision
    from training.registry import RECIPES

    name, _, sets = name.partition(':')
    cfg = narrow(with_precision(RECIPES.get(name).make(spec, 1), 'bf16'))
    if name != 'auto':
        cfg = dataclasses.replace(cfg, batch=cfg.batch_gpu)
    kind = 'fixed' if cfg.loss.boundary is None else 'ada'  # ADA follows the sign of D
    mixing = 1.0 if cfg.style_mixing_prob > 0 else 0.0
    cfg = dataclasses.replace(cfg, aug=AugmentConfig(kind=kind, p=0.6, pipe=cfg.aug.pipe), style_mixing_prob=mixing)
    return apply_overrides(cfg, dict(item.split('=') for item in sets.split(',') if item))


def run_step(name: str) -> list[str]:
    """Runs two steps of a --cfg, the second of which has all phases. Returns the names of its phases."""
    from tests.support.fake_cuda.mode import FakeCuda
    from tests.support.fake_cuda.steps import CUDA, runner
    from tests.support.narrow import narrow
    from training.build import build
    from training.interface import ImageSpec
    from training.registry import RECIPES
    from training.step import TrainStep

    least = 64 if 'glead' in name else 16  # LPIPS sees no smaller images
    res = max(least, RECIPES.get(name.partition(':')[0]).min_resolution)
    spec = ImageSpec(resolution=res, channels=3, label_dim=0, num_images=4)
    cfg = config(name, spec, narrow)
    with FakeCuda() as mode:
        step = TrainStep(cfg, build(cfg, spec, CUDA), SimpleNamespace(spec=spec), CUDA)
        run = runner(step)
        step.state.step = 1  # without the phases of longer intervals, which the second step has
        run()
        mode.strict = True
        step.state.step = math.lcm(*(phase.interval for phase in step.phases))
        run()
    return [phase.name for phase in step.phases]


def caught() -> list[str]:
    """Returns the names of the planted mistakes that raise."""
    import torch

    from tests.support.fake_cuda.mode import FakeCuda

    mistakes: dict[str, Callable[[torch.Tensor], object]] = {
        'reads a number': lambda x: x.sum().item(),
        'copies to the host': lambda x: x.cpu(),
        'copies to the device': lambda x: torch.zeros(3).to('cuda'),
        'mixes devices': lambda x: x + torch.zeros(3),
        'none': lambda x: (x * 2).to('cpu', non_blocking=True),
    }
    found = []
    with FakeCuda() as mode:
        x = torch.zeros(3, device='cuda')
        mode.strict = True
        for name, mistake in mistakes.items():
            try:
                mistake(x)
            except RuntimeError:
                found.append(name)
    return found


def main(names: list[str]) -> None:
    """Prints the outcome for every named --cfg, by default for all."""
    guard.load()
    from tests.support.fake_cuda import stubs
    from training.registry import RECIPES

    stubs.prepare()

    print(json.dumps(caught()), flush=True)
    RECIPES.load_all()
    for name in names or RECIPES.names():
        phases, problem = [], None
        try:
            phases = run_step(name)
        except Exception:
            problem = traceback.format_exc()
        print(json.dumps({'cfg': name, 'phases': phases, 'problem': problem}), flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
