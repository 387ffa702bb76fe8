"""Steps of several processes: the same images, draws and statistics, and, where it is asked for, the same bits."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.support.narrow import narrow
from tests.support.ranks import run_ranks
from tests.support.steps import CPU, tiny
from torch_utils.distributed import World
from training.augment.config import AugmentConfig
from training.build import build
from training.config import PathLengthConfig, R1Config, RunConfig
from training.data.dataset import DataConfig, ImageDataset
from training.data.loader import data_loader
from training.objective.lecam import LeCamConfig
from training.registry import RECIPES
from training.step import TrainStep

pytestmark = pytest.mark.slow

STEPS = 3
EVERYTHING = {
    'batch': 8,
    'r1': R1Config(gamma=1, interval=2),
    'pl': PathLengthConfig(weight=2, interval=2),
    'aug': AugmentConfig(kind='ada', p=0.5, interval=2, kimg=1),
    'lecam': LeCamConfig(weight=0.1),
}


def everything(dataset: ImageDataset, **changes) -> RunConfig:
    """Returns a run with style mixing, path lengths, R1, ADA and LeCam on four micro-batches of two images."""
    cfg = tiny(dataset, **{k: v for k, v in EVERYTHING.items() if k != 'batch' and k != 'aug'})
    return dataclasses.replace(cfg, aug=EVERYTHING['aug'], batch=8, **changes)


def trained(world: World, cfg: RunConfig, dataset: ImageDataset, steps: int = STEPS) -> tuple[dict, dict, dict]:
    """Trains in this process.

    Args:
        world: Processes of the run.
        cfg: Config of the run.
        dataset: Data set.
        steps: Number of steps.

    Returns:
        Tensors, scalars and statistics of the last state.
    """
    cfg = dataclasses.replace(cfg, gpus=world.size)
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU, world)
    with data_loader(dataset, start_nimg=0, batch_size=cfg.batch, seed=0, num_workers=0,
                     rank=world.rank, world=world.size) as batches:  # fmt: skip
        for _ in range(steps):
            (img, c), *for_G = (next(batches) for _ in range(cfg.batches_per_step))
            step(img, c, *for_G)
    tensors = {name: value.numpy() for name, value in state.tensors().items()}
    return tensors, state.scalars(), state.stats.summary()


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    assert [name for name, value in a.items() if value.tobytes() != b[name].tobytes()] == []


@pytest.fixture(scope='module')
def alone(dataset):
    """Returns the deterministic results of one process."""
    return run_ranks(1, trained, everything(dataset, deterministic=True), dataset)[0]


@pytest.mark.parametrize('size', [2, 4])
def test_deterministic_bits_do_not_depend_on_the_number_of_processes(dataset, alone, size):
    cfg = everything(dataset, deterministic=True)
    several, *others = run_ranks(size, trained, cfg, dataset)
    assert_same(alone[0], several[0])
    assert alone[1:] == several[1:]  # statistics, ADA's p and sums, LeCam's anchors
    assert several[2]['Loss/D/loss']['num'] == STEPS * cfg.batch
    assert_same(several[0], others[-1][0])  # every process has the same
    assert several[1:] == others[-1][1:]


def test_three_processes_give_the_bits_of_one(dataset):
    cfg = dataclasses.replace(everything(dataset, deterministic=True), batch=12)
    assert_same(run_ranks(1, trained, cfg, dataset, 2)[0][0], run_ranks(3, trained, cfg, dataset, 2)[2][0])


def test_without_deterministic_20_steps_stay_close_and_statistics_are_counted_once(dataset):
    """R17: the order of sums alone differs."""
    (alone, _, counted), *_ = run_ranks(1, trained, everything(dataset), dataset, 20)
    first, second = run_ranks(2, trained, everything(dataset), dataset, 20)
    for net in ('G.', 'D.', 'G_ema.'):
        names = [name for name in alone if name.startswith(net)]
        square = sum(np.square(alone[name].astype(np.float64)).sum() for name in names)
        error = sum(np.square(alone[name].astype(np.float64) - first[0][name]).sum() for name in names)
        assert error <= 1e-4**2 * square
    assert {k: line['num'] for k, line in counted.items()} == {k: line['num'] for k, line in first[2].items()}
    assert_same(first[0], second[0])
    assert first[1:] == second[1:]


@pytest.mark.parametrize('name', ['squeeze', 'stylegan2', 'igan', 'giu', 'dcgan', 'ifgan'])
def test_every_architecture_gives_the_same_bits(name):
    """Batch-norm statistics, spectral norms' vectors and the mean w are those of all micro-batches."""
    dataset = ImageDataset(DataConfig(resolution=32))
    cfg = dataclasses.replace(RECIPES.get(name).make(dataset.spec, 1), batch=4, batch_gpu=2, deterministic=True)
    small = {'channel_base': 256, 'channel_max': 16, 'z_dim': 8, 'w_dim': 8, 'channel_min': 4, 'mbstd_group': 2}
    nets = {
        part: dataclasses.replace(net, **{k: v for k, v in small.items() if hasattr(net, k)})
        for part, net in (('generator', cfg.generator), ('discriminator', cfg.discriminator))
    }
    cfg = dataclasses.replace(cfg, **nets)
    alone, *_ = run_ranks(1, trained, cfg, dataset, 2)
    several, *_ = run_ranks(2, trained, cfg, dataset, 2)
    assert_same(alone[0], several[0])
    assert alone[1:] == several[1:]


def test_a_step_that_reads_two_batches_of_data_gives_the_same_bits():
    dataset = ImageDataset(DataConfig(resolution=32, cond=True))
    cfg = narrow(RECIPES.get('r3gan').make(dataset.spec, 1))
    cfg = dataclasses.replace(cfg, deterministic=True, aug=dataclasses.replace(cfg.aug, p=0.5))
    alone, *_ = run_ranks(1, trained, cfg, dataset, 3)
    several, *_ = run_ranks(2, trained, cfg, dataset, 3)
    assert_same(alone[0], several[0])
    assert alone[1:] == several[1:]


def test_processes_share_the_data_order(dataset):
    def indices(world, size):
        with data_loader(dataset, start_nimg=5, batch_size=8, seed=3, num_workers=0, rank=world, world=size) as stream:
            return [next(stream)[0] for _ in range(2)]

    whole = indices(0, 1)
    for size in (2, 4):
        parts = [indices(rank, size) for rank in range(size)]
        for k, img in enumerate(whole):
            assert torch.equal(torch.cat([part[k] for part in parts]), img)
