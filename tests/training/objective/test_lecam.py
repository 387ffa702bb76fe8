"""LeCam regularization: the paper's formula, its anchors, and what is kept of them."""

import dataclasses
import json

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.steps import CPU, assert_resumes, tiny, train
from training.config import LossConfig
from training.objective.lecam import LeCam, LeCamConfig
from training.objective.term import Scored


def make(**fields):
    return LeCam(LeCamConfig(**fields), None, None, CPU)


def penalty(lecam, logits, generated, nimg=0):
    """Returns the loss for logits, or None.

    Args:
        lecam: Term.
        logits: D's logits, [N, 1].
        generated: Whether they are of generated images.
        nimg: Images shown so far.
    """
    img = torch.zeros(len(logits), 3, 8, 8)
    scored = Scored(img=img, seen=img, c=torch.zeros(len(logits), 0), logits=logits, generated=generated, nimg=nimg)
    summand = lecam.on_logits(scored)
    if summand is not None:
        assert list(summand.statistics) == ['Loss/D/lecam']
        assert summand.statistics['Loss/D/lecam'] is summand.loss
    return None if summand is None else summand.loss


def follow(lecam, steps):
    """Feeds (real, generated) logits step by step."""
    for real, fake in steps:
        penalty(lecam, torch.tensor(real)[:, None], generated=False)
        penalty(lecam, torch.tensor(fake)[:, None], generated=True)
        lecam.end_step()


def test_logits_of_either_kind_are_drawn_to_the_anchor_of_the_other():
    lecam = make(weight=0.5)
    follow(lecam, [([2.0, 4.0], [-1.0, -3.0])])
    x = torch.tensor([[1.0], [5.0]])
    assert torch.equal(penalty(lecam, x, False), 0.5 * (x + 2) ** 2)
    assert torch.equal(penalty(lecam, x, True), 0.5 * (x - 3) ** 2)


def test_the_gradient_goes_to_the_logits_alone():
    lecam = make(weight=0.5)
    follow(lecam, [([2.0], [-1.0])])
    x = torch.tensor([[1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(penalty(lecam, x, False).sum(), x)
    assert gradient.item() == pytest.approx(0.5 * 2 * (1 + 1))
    lecam.end_step()
    assert not lecam.anchors().requires_grad


def test_anchors_are_exponential_means_of_what_was_seen():
    decay, values = 0.9, [3.0, -1.0, 4.0, 1.5]
    lecam = make(weight=1, decay=decay)
    follow(lecam, [([v], [-2 * v]) for v in values])
    weights = torch.tensor([decay ** (3 - i) for i in range(4)], dtype=torch.float64)
    mean = (weights * torch.tensor(values, dtype=torch.float64)).sum() / weights.sum()
    torch.testing.assert_close(lecam.anchors(), torch.stack([mean, -2 * mean]), rtol=1e-12, atol=0)


def test_micro_batches_do_not_change_the_anchors():
    whole, parts = (make(weight=1) for _ in range(2))
    follow(whole, [([1.0, 2.0, 4.0], [0.0, 1.0, -4.0])])
    for real, fake in (([1.0], [0.0]), ([2.0, 4.0], [1.0, -4.0])):
        assert penalty(parts, torch.tensor(real)[:, None], False) is None
        penalty(parts, torch.tensor(fake)[:, None], True)
    parts.end_step()
    assert torch.equal(whole.anchors(), parts.anchors())


def test_a_step_that_is_no_number_leaves_the_anchors():
    lecam = make(weight=1)
    follow(lecam, [([float('nan')], [1.0])])
    assert lecam.anchors().tolist() == [0.0, 1.0]
    follow(lecam, [([2.0], [1.0])])
    before = lecam.anchors()
    follow(lecam, [([float('inf')], [float('nan')])])
    torch.testing.assert_close(lecam.anchors(), before, rtol=1e-12, atol=0)


def test_the_term_waits_for_start_kimg():
    lecam = make(weight=1, start_kimg=2)
    follow(lecam, [([2.0], [1.0])])
    assert penalty(lecam, torch.ones(1, 1), False, 1999) is None
    assert penalty(lecam, torch.ones(1, 1), False, 2000) is not None


@pytest.mark.parametrize('kind', ['hinge', 'relativistic'])
def test_it_trains_and_resumes_bit_for_bit(dataset, kind):
    cfg = tiny(dataset, lecam=LeCamConfig(weight=0.3), loss=LossConfig(kind=kind))
    whole = assert_resumes(cfg, dataset, 2, 2)
    assert whole.stats.summary()['Loss/D/lecam']['num'] == 3 * 8  # not in the first step
    plain, _ = train(dataclasses.replace(cfg, lecam=LeCamConfig()), dataset, 4)
    assert not torch.equal(plain.D.b4.out.weight, whole.D.b4.out.weight)


def test_switched_on_in_the_middle_of_a_run_it_begins_there(dataset):
    cfg = tiny(dataset)
    half, _ = train(cfg, dataset, 2)
    later = dataclasses.replace(cfg, lecam=LeCamConfig(weight=0.3))
    state = train(later, dataset, 0)[0]
    state.load(half.tensors(), json.loads(json.dumps(half.scalars())), 'test')
    assert state.parts['lecam'].num_steps == 0
    train(later, dataset, 2, state)
    assert state.stats.summary()['Loss/D/lecam']['num'] == 8


@pytest.mark.parametrize(
    ('fields', 'message'),
    [({'weight': -1}, r'lecam\.weight=-1'), ({'decay': 1}, r'lecam\.decay=1'), ({'start_kimg': -1}, 'start_kimg=-1')],
)
def test_a_wrong_setting_is_refused_by_name(fields, message):
    with pytest.raises(ConfigError, match=message):
        LeCamConfig(**fields)
