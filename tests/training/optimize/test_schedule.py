"""Schedules: their values at published points, what a step takes from them, and resuming within them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dnnlib.errors import ConfigError
from tests.support.steps import assert_resumes, tiny, train
from training.augment.config import AugmentConfig
from training.config import EmaConfig, OptimizerConfig, R1Config, R2Config, ScheduleConfig
from training.optimize.ema import ema_beta
from training.optimize.schedule import cosine

SCHEDULE = ScheduleConfig(kimg=0.016, lr=0.001, beta2=0.99, gamma=0.1, ema_kimg=0.02, p=0.8)


def scheduled(dataset, **changes):
    """Returns a config in which everything follows a schedule over four steps."""
    optimizer = OptimizerConfig(lr=0.002, beta2=0.9)
    fields = {
        'schedule': SCHEDULE, 'r1': R1Config(gamma=1, interval=2), 'r2': R2Config(gamma=2), 'ema': EmaConfig(kimg=0),
        'g_opt': optimizer, 'd_opt': optimizer, 'aug': AugmentConfig(kind='fixed', p=0.0),
    }  # fmt: skip
    return tiny(dataset, **fields | changes)


def test_the_cosine_has_the_published_values(golden: Path) -> None:
    for preset in json.loads((golden / 'r3gan_presets.json').read_text()).values():
        for name, schedule in preset['schedules'].items():
            values = [
                cosine(nimg, schedule['total_nimg'], schedule['base_value'], schedule['final_value'])
                for nimg in preset['schedule_points_nimg']
            ]
            assert values == pytest.approx(preset['schedule_values'][name], rel=1e-12)


def test_every_value_of_a_step_is_that_of_its_first_image(dataset) -> None:
    state, step = train(scheduled(dataset), dataset, 3)  # the third step begins at 8 of 16 images, half of the way
    (group,) = state.opt_D.param_groups
    c = 2 / 3  # R1 every 2 steps
    assert group['lr'] == pytest.approx(0.0015 * c)
    assert group['betas'][1] == pytest.approx(0.945**c)
    assert (state.terms['r1'].gamma, state.terms['r2'].gamma) == (pytest.approx(0.55), pytest.approx(1.05))
    assert step.view.p == pytest.approx(0.4)
    _, later = train(scheduled(dataset), dataset, 3, state)  # the sixth begins after the end
    assert (group['lr'], group['betas'][1]) == (pytest.approx(0.001 * c), pytest.approx(0.99**c))
    assert (state.terms['r2'].gamma, later.view.p) == (0.1, 0.8)


def test_the_average_follows_its_half_life(dataset, monkeypatch) -> None:
    half_lives = []

    def noted(batch, ema_kimg, rampup, nimg):
        half_lives.append(ema_kimg)
        return ema_beta(batch, ema_kimg, rampup, nimg)

    monkeypatch.setattr('training.step.ema_beta', noted)
    train(scheduled(dataset), dataset, 5)
    assert half_lives == pytest.approx([0, 0.02 * 0.146447, 0.01, 0.02 * 0.853553, 0.02], abs=1e-6)


def test_a_run_resumes_bit_for_bit_within_its_schedules(dataset) -> None:
    assert_resumes(scheduled(dataset), dataset, 2, 2)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'d_opt': OptimizerConfig(kind='adagrad')}, r'schedule\.beta2=0\.99: d_opt\.kind=adagrad .* --set'),
        ({'schedule': ScheduleConfig(p=0.5)}, r'schedule\.p=0\.5: aug\.kind=noaug .* --set schedule\.p=none'),
    ],
)
def test_a_schedule_of_something_that_the_run_lacks_is_refused(dataset, changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny(dataset, **{'schedule': ScheduleConfig(beta2=0.99)} | changes)


@pytest.mark.parametrize('fields', [{'kimg': -1}, {'lr': 0}, {'beta2': 1}, {'gamma': -1}, {'ema_kimg': -1}, {'p': 2}])
def test_values_out_of_range_are_refused_by_name(fields) -> None:
    with pytest.raises(ConfigError, match=rf'schedule\.{next(iter(fields))}='):
        ScheduleConfig(**fields)
