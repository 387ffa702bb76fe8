"""Golden losses: every --cfg repeats the losses and penalties of its first two steps, as they were recorded.

Narrow networks on the embedded images at 32x32 with labels, float32, one thread, reference operations. Another machine
sums in another order, which changes these numbers by less than 1e-4; bench/same_bits.py compares bits on one machine.
Left out: logits and their signs, and a third step. There rounding is amplified to as much as 5%, by the kinks of leaky
ReLU under R1 and by Adam's first steps, whose size does not depend on that of the gradient.

tests/golden/losses.json was recorded with commit 68bf1d1, and the rows of networks with a label embedding again with
fb8d21f, which scales it. A new --cfg adds its row, and a change that is meant to alter
numbers records them all, with

    OMP_NUM_THREADS=1 python -m tests.contracts.test_golden_losses
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.contracts.test_every_cfg import narrow
from torch_utils.ops import dispatch
from training.build import build
from training.config import with_precision
from training.data.dataset import DataConfig, ImageDataset
from training.registry import RECIPES
from training.step import TrainStep

RECIPES.load_all()
NAMES = RECIPES.names()
PATH = Path(__file__).parent.parent / 'golden' / 'losses.json'
NUM_STEPS = 2
LOGITS = ('Loss/scores/', 'Loss/signs/')


@cache
def images() -> ImageDataset:
    """Returns the embedded images at 32x32 with labels."""
    return ImageDataset(DataConfig(resolution=32, cond=True))


def losses(name: str) -> dict[str, list[float]]:
    """Returns the mean of every loss from the start to each step, by name."""
    dataset, device = images(), torch.device('cpu')
    cfg = with_precision(narrow(RECIPES.get(name).make(dataset.spec, 1)), 'fp32')
    found: dict[str, list[float]] = {}
    with dispatch.default('ref'):
        state = build(cfg, dataset.spec, device)
        step = TrainStep(cfg, state, dataset, device)
        for start in range(0, NUM_STEPS * cfg.batch, cfg.batch):
            indices = np.arange(start, start + cfg.batch)
            img = torch.from_numpy(np.stack([dataset.image(i) for i in indices]))
            step(img, torch.from_numpy(dataset.labels(indices)))
            for key, statistic in state.stats.summary().items():
                if key.startswith('Loss/') and not key.startswith(LOGITS):
                    found.setdefault(key, []).append(statistic['mean'])
    return found


def test_every_cfg_has_golden_losses():
    assert sorted(json.loads(PATH.read_text())) == sorted(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_the_first_steps_have_the_golden_losses(name):
    golden, found = json.loads(PATH.read_text())[name], losses(name)
    assert found.keys() == golden.keys()
    for key, values in golden.items():
        for value, expected in zip(found[key], values, strict=True):
            absolute = min(1e-5, 0.02 * abs(expected))  # losses near zero are differences, small penalties are norms
            assert value == pytest.approx(expected, rel=1e-4, abs=absolute), key


if __name__ == '__main__':
    torch.set_num_threads(1)
    rows = [f'{json.dumps(name)}: {json.dumps(losses(name))}' for name in NAMES]
    PATH.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
