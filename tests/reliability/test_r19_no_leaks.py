"""R19: over 2,000 steps memory, open files and threads do not grow, in the run nor in its worker."""

import os

import numpy as np
import psutil
import pytest

from tests.reliability.supervisor import Run
from tests.support.runs import losses

pytestmark = pytest.mark.slow

# 2,000 steps of 4 images of 8x8 with the narrowest networks; a tick every 4 steps, a state every 40 and some snapshots.
MICRO = (
    '--cfg=auto', '--kimg=8', '--batch=4', '--batch-gpu=4', '--mbstd-group=4', '--tick=0.016', '--snap=100',
    '--device=cpu', '--metrics=none', '--workers=1', '--set=grid_images=4', '--set=save_every_s=1', '--precision=fp32',
    '--resolution=8', '--cbase=32', '--cmax=4', '--map-depth=1', '--set=generator.z_dim=4', '--set=generator.w_dim=4',
    '--set=pl.weight=0', '--set=style_mixing_prob=0', '--set=discriminator.architecture=orig',
)  # fmt: skip
LIMIT = 1024  # bytes a step


def gauges(process):
    """Bytes of memory, open files and threads of a process."""
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def slope(steps, sizes):
    """Bytes a step, by least squares over the second half."""
    half = len(steps) // 2
    return np.polyfit(steps[half:], sizes[half:], 1)[0]


def test_nothing_grows_over_two_thousand_steps(zygote, tmp_path, data):
    shm = set(os.listdir('/dev/shm'))
    run = Run(zygote, tmp_path / 'run', (f'--data={data}', *MICRO))
    launch, samples = run.launch(), []
    launch.watch(run.num_states)
    worker, parent = launch.workers()[0], psutil.Process(launch.pid)

    def sample():
        lines = run.num_lines()
        if not samples or lines > samples[-1][0] + 4:
            samples.append((lines, gauges(parent), gauges(worker)))

    launch.watch(sample)
    assert launch.wait() == 0, launch.said()
    assert losses(run.folder)[-1]['nimg'] == 8000
    assert len(samples) >= 40
    steps = np.array([lines * 4 for lines, *_ in samples])
    for who in (1, 2):
        rss, fds, threads = np.array([sample[who] for sample in samples]).T
        assert slope(steps, rss) <= LIMIT
        half = len(steps) // 2
        assert fds[half:].max() <= fds[:half].max() + 1  # a file that is being written
        assert threads[half:].max() <= threads[:half].max()
    assert set(os.listdir('/dev/shm')) <= shm | {
        name for name in os.listdir('/dev/shm') if not name.startswith('torch')
    }
    assert not worker.is_running()
