"""The controller of an augmentation's strength: what moves p, by how much, when, and what is kept of it."""

import json

import pytest
import torch

from tests.support.gpu import no_waits
from training.augment.config import AugmentConfig
from training.augment.controller import Controller

CPU = torch.device('cpu')


def make(batch=64, device=CPU, **fields):
    return Controller(AugmentConfig(**{'kind': 'ada', **fields}), batch, device)


def run(controller, logits, steps, start=0):
    """Returns p after each step.

    Args:
        controller: Controller under test.
        logits: Logits of D in every step.
        steps: Number of steps.
        start: Number of the first step.
    """
    seen = []
    for step in range(start, start + steps):
        controller.feed(torch.as_tensor(logits))
        controller.end_step(step)
        seen.append(controller.p)
    return seen


def test_p_moves_one_interval_late_by_batch_times_interval_over_kimg():
    assert run(make(batch=64), [3.0, 1.0], 16) == pytest.approx(
        [0] * 7 + [5.12e-4] * 4 + [2 * 5.12e-4] * 4 + [3 * 5.12e-4]
    )
    assert run(make(batch=32, interval=2, kimg=0.64), [3.0], 6) == pytest.approx([0, 0, 0, 0.1, 0.1, 0.2])


def test_p_falls_where_the_mean_sign_is_below_the_target_and_rests_on_it():
    falling = make(p=0.5, kimg=1.28, interval=1)
    assert run(falling, [1.0, -1.0], 4) == pytest.approx([0.5, 0.45, 0.4, 0.35])
    resting = make(p=0.5, target=0.5)
    assert run(resting, [1.0, 1.0, 1.0, -1.0], 12) == [0.5] * 12


def test_the_sign_of_zero_is_zero():
    resting = make(p=0.5, target=0.0)
    assert run(resting, [0.0, 0.0], 12) == [0.5] * 12


def test_signs_are_counted_from_where_the_loss_is_undecided():
    cfg = AugmentConfig(kind='ada', p=0.5, interval=1)
    below, above = (Controller(cfg, 64, CPU, boundary=0.5) for _ in range(2))
    run(below, [0.4], 2)
    run(above, [0.6], 2)
    assert below.p < 0.5 < above.p


def test_every_image_of_an_interval_counts_alike():
    """Mean sign 5 / 9 over 9 images, below 0.6, though the mean of the two calls' means is 2 / 3."""
    controller = make(p=0.5, interval=1)
    controller.feed(torch.tensor([[1.0], [1.0], [1.0]]))
    controller.feed(torch.tensor([[1.0], [1.0], [1.0], [1.0], [-1.0], [-1.0]]))
    controller.end_step(0)
    controller.end_step(1)
    assert controller.p < 0.5


def test_p_stays_between_zero_and_its_cap():
    rising = make(p=0.8, kimg=0.64, interval=1)
    assert not rising.at_cap
    assert run(rising, [1.0], 5) == [0.8, 0.85, 0.85, 0.85, 0.85]
    assert rising.at_cap
    assert run(make(p=0.05, kimg=0.64, interval=1), [-1.0], 4) == [0.05, 0, 0, 0]


def test_an_interval_without_images_and_logits_that_are_no_numbers_leave_p_finite():
    controller = make(p=0.5, interval=1)
    for step in range(4):
        controller.end_step(step)
    assert controller.p == 0.5
    run(controller, [float('nan')], 3)
    assert 0 <= controller.p <= 0.85


@pytest.mark.parametrize('stop', range(1, 13))
def test_a_controller_resumes_bit_for_bit_wherever_it_was_stopped(stop):
    logits = torch.randn(13, 8, generator=torch.Generator().manual_seed(1)) + 0.9
    whole, half, other = (make(p=0.1, batch=7, kimg=0.3, interval=3) for _ in range(3))
    seen = [run(whole, row, 1, step)[0] for step, row in enumerate(logits)]
    assert [run(half, row, 1, step)[0] for step, row in enumerate(logits[:stop])] == seen[:stop]
    other.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert other.state_dict() == half.state_dict()
    assert [run(other, row, 1, step)[0] for step, row in enumerate(logits) if step >= stop] == seen[stop:]
    assert other.state_dict() == whole.state_dict()
    assert len(set(seen)) == 3  # p moved both ways


@pytest.mark.gpu
def test_on_a_gpu_it_says_the_same_and_the_host_does_not_wait():
    logits = torch.randn(16, 8, generator=torch.Generator().manual_seed(1)) + 0.5
    expected = [run(make(kimg=0.3), row, 1, step)[0] for step, row in enumerate(logits)]
    there = make(kimg=0.3, device=torch.device('cuda'))
    rows = logits.cuda()
    with no_waits():
        assert [run(there, row, 1, step)[0] for step, row in enumerate(rows)] == expected
