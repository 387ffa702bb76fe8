"""Adversarial losses against their formulas, written out number by number."""

import math

import pytest
import torch

from dnnlib.errors import ConfigError
from training.config import LossConfig
from training.objective.losses import LOSSES, Paired, Separable

FAKE, REAL = [-1.5, 0.25, 3.0], [2.0, -0.5, 0.75]


def column(values):
    return torch.tensor(values, dtype=torch.float64)[:, None]  # [N, 1]


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


# name -> (G's loss of a fake logit f, D's of f, D's of a real logit r)
SEPARABLE = {
    'logistic': (lambda f: -log_sigmoid(f), lambda f: -log_sigmoid(-f), lambda r: -log_sigmoid(r)),
    'hinge': (lambda f: -f, lambda f: max(0, 1 + f), lambda r: max(0, 1 - r)),
    'lsgan': (lambda f: (f - 1) ** 2, lambda f: f**2, lambda r: (r - 1) ** 2),
    'wasserstein': (lambda f: -f, lambda f: f, lambda r: -r),
}


@pytest.mark.parametrize('name', SEPARABLE)
def test_a_separable_loss_is_its_formula(name):
    loss = LOSSES.get(name)()
    assert isinstance(loss, Separable)
    assert not isinstance(loss, Paired)
    of_g, of_fake, of_real = SEPARABLE[name]
    for got, formula, logits in (
        (loss.generator(column(FAKE)), of_g, FAKE),
        (loss.discriminator_fake(column(FAKE)), of_fake, FAKE),
        (loss.discriminator_real(column(REAL)), of_real, REAL),
    ):
        torch.testing.assert_close(got, column([formula(x) for x in logits]))


def test_the_relativistic_loss_is_that_of_pairs():
    loss = LOSSES.get('relativistic')()
    assert isinstance(loss, Paired)
    pairs = list(zip(FAKE, REAL, strict=True))
    g, d = loss.generator_pairs(column(FAKE), column(REAL)), loss.discriminator_pairs(column(FAKE), column(REAL))
    torch.testing.assert_close(g, column([-log_sigmoid(f - r) for f, r in pairs]))
    torch.testing.assert_close(d, column([-log_sigmoid(r - f) for f, r in pairs]))


def test_cross_entropy_is_another_name_of_the_logistic_loss():
    assert LOSSES.get('cross_entropy') is LOSSES.get('logistic')


def test_saturated_logits_keep_a_finite_loss_and_a_gradient():
    for name in ('logistic', 'relativistic'):
        logits = column([-1e4, 1e4]).requires_grad_(True)
        loss = LOSSES.get(name)()
        values = loss.generator(logits) if isinstance(loss, Separable) else loss.generator_pairs(logits, 0 * logits)
        assert values.isfinite().all()
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert gradient[0].abs() == 1  # the wrong image still learns


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"unknown loss\.kind 'wgan': did you mean 'lsgan'\? known: .*logistic, .*wasserstein"
    ):
        LossConfig(kind='wgan')
