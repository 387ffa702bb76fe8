"""R17: 1, 2 and 4 processes see the same images in the same order; --deterministic makes their bits equal."""

import numpy as np
import pytest

from tests.reliability.supervisor import fingerprint
from torch_utils.checkpoint import list_states, load_state
from training.data.sampler import EpochSampler

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('world', [1, 2, 4])
def test_the_order_of_the_images_does_not_depend_on_the_number_of_processes(world):
    sampler = EpochSampler(40, 0)
    for nimg in range(0, 960, 96):
        parts = [sampler.batch_indices(nimg, 96, rank, world) for rank in range(world)]
        assert np.array_equal(np.concatenate(parts), sampler.batch_indices(nimg, 96, 0, 1))


def test_two_processes_reach_the_bits_of_one(run, undisturbed_by_two):
    """And one process continues what two began."""
    struck = run('--deterministic=1', '--gpus=2', plan=[('phase', 12, 'SIGTERM@1')])
    assert struck.launch().wait() == 143
    assert struck.launch(f'--resume={struck.folder}', '--gpus=1').wait() == 0
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)


def test_four_processes_reach_the_bits_of_one(run, in_peace):
    flags = ('--deterministic=1', '--batch-gpu=24')
    alone = in_peace('quarters', (*run().flags[1:], *flags))
    four = run(*flags, '--gpus=4')
    assert four.launch().wait() == 0
    assert fingerprint(four.folder) == fingerprint(alone)


def test_without_it_weights_stay_close(run, in_peace):
    """After 11 steps in float32, one part in 10,000 of each network's norm."""
    flags = ('--precision=fp32', '--set=aug.kind=noaug')
    one = in_peace('single precision', (*run().flags[1:], *flags))
    two = run(*flags, '--gpus=2')
    assert two.launch().wait() == 0
    ours, theirs = (load_state(list_states(folder / 'state')[-1])[0] for folder in (two.folder, one))
    for network in ('G.', 'D.'):
        names = [name for name in theirs if name.startswith(network)]
        size = sum(float(theirs[name].double().square().sum()) for name in names) ** 0.5
        difference = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in names) ** 0.5
        assert difference <= 1e-4 * size
