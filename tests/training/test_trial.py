"""Trial steps of a plan: their sizes, what they measure, and the way out where memory is short."""

from dataclasses import replace

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.steps import CPU, tiny
from training import trial
from training.config import R1Config, apply_overrides


@pytest.mark.parametrize(
    ('batch_gpu', 'group', 'most', 'sizes'),
    [
        (32, 4, 1000, (32,)),
        (32, 4, 63, (12, 24)),
        (32, 4, 40, (8, 16)),
        (32, 4, 4, (1, 2)),
        (32, 4, 0, (1, 2)),
        (32, None, 20, (5, 10)),
        (30, 3, 8, (1, 2)),
        (2, 2, 0, (2,)),
        (1, 4, 0, (1,)),
    ],
)
def test_the_sizes_of_the_steps_fit_the_budget_and_the_groups(dataset, batch_gpu, group, most, sizes):
    cfg = replace(tiny(dataset), batch=batch_gpu, batch_gpu=batch_gpu, discriminator=replace(
        tiny(dataset).discriminator, mbstd_group=group))  # fmt: skip
    assert trial.sizes_of(cfg, most) == sizes


def test_phases_count_as_often_as_they_are_due(dataset, monkeypatch):
    seconds = {'Gmain': (1, 8.0), 'Greg': (1, 16.0), 'Dmain': (1, 4.0), 'Dreg': (1, 32.0), 'ema': (1, 2.0)}
    monkeypatch.setattr('torch_utils.timing.PhaseTimer.read', lambda self: seconds)
    cfg = apply_overrides(tiny(dataset), {'n_critic': 2, 'batch': 8, 'batch_gpu': 2})
    assert (cfg.pl.interval, cfg.r1.interval) == (4, 16)
    found = trial.try_steps(cfg, dataset, CPU, macs=1)
    per_micro = 8 / 2 + 16 / 8 + 4 + 32 / 16 + 2 / 2
    assert found.sec_per_kimg == pytest.approx(1000 * per_micro * 4 / 8)
    assert found.sizes == (2,)
    assert 10**7 < found.num_bytes < 10**11


def test_two_sizes_are_extrapolated_to_the_micro_batch(dataset, monkeypatch):
    measured = {1: (1.0, 100), 2: (1.5, 140)}
    monkeypatch.setattr(trial, '_measure', lambda cfg, state, data, device, size: trial._Measured(
        seconds=measured[size][0], num_bytes=measured[size][1]))  # fmt: skip
    cfg = replace(tiny(dataset), batch=32, batch_gpu=16)
    found = trial.try_steps(cfg, dataset, CPU, macs=10**12)
    assert found.sizes == (1, 2)
    assert found.sec_per_kimg == pytest.approx(1000 * 2 * (1.5 + 14 * 0.5) / 32)
    assert found.num_bytes == 140 + 14 * 40


def test_every_term_and_state_survives_the_trial(dataset):
    cfg = replace(tiny(dataset), r1=R1Config(gamma=1, interval=None))
    assert trial.try_steps(cfg, dataset, CPU, macs=1).sec_per_kimg > 0


@pytest.mark.parametrize(
    ('batch', 'batch_gpu', 'way_out'),
    [(32, 32, '--batch-gpu=16'), (48, 24, '--batch-gpu=12'), (4, 2, '--batch-gpu=1'), (1, 1, '--cbase and --cmax')],
)
def test_a_micro_batch_that_does_not_fit_names_a_smaller_one_that_works(
    dataset, monkeypatch, batch, batch_gpu, way_out
):
    def measure(*args):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')

    class Properties:
        total_memory = 8 * 10**9

    monkeypatch.setattr(trial, '_measure', measure)
    monkeypatch.setattr('torch.cuda.get_device_properties', lambda device: Properties)
    cfg = replace(tiny(dataset), batch=batch, batch_gpu=batch_gpu)
    with pytest.raises(ConfigError, match=f'--batch-gpu={batch_gpu}: a step does not fit into the 8.0 GB') as error:
        trial.try_steps(cfg, dataset, CPU, macs=1)
    assert way_out in str(error.value)
    if 'batch-gpu=' in way_out:
        apply_overrides(cfg, {'batch_gpu': way_out.partition('=')[2]})
