"""Losses and penalties against their formulas, written out number by number."""

import math

import pytest
import torch

from dnnlib.errors import ConfigError
from training.config import LossConfig
from training.objective.gp import interpolate, slope_penalty
from training.objective.losses import LOSSES, Paired, Separable
from training.objective.r1 import r1_penalty

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
    loss = LOSSES[name]()
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
    loss = LOSSES['relativistic']()
    assert isinstance(loss, Paired)
    pairs = list(zip(FAKE, REAL, strict=True))
    g, d = loss.generator_pairs(column(FAKE), column(REAL)), loss.discriminator_pairs(column(FAKE), column(REAL))
    torch.testing.assert_close(g, column([-log_sigmoid(f - r) for f, r in pairs]))
    torch.testing.assert_close(d, column([-log_sigmoid(r - f) for f, r in pairs]))


def test_cross_entropy_is_another_name_of_the_logistic_loss():
    assert LOSSES['cross_entropy'] is LOSSES['logistic']


def test_saturated_logits_keep_a_finite_loss_and_a_gradient():
    for name in ('logistic', 'relativistic'):
        logits = column([-1e4, 1e4]).requires_grad_(True)
        loss = LOSSES[name]()
        values = loss.generator(logits) if isinstance(loss, Separable) else loss.generator_pairs(logits, 0 * logits)
        assert values.isfinite().all()
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert gradient[0].abs() == 1  # the wrong image still learns


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r'loss\.kind=wgan: one of logistic, .*wasserstein'):
        LossConfig(kind='wgan')


def test_penalties_of_a_linear_critic_are_those_of_its_weight():
    weight = torch.randn([1, 12], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    img = torch.randn([5, 3, 2, 2], dtype=torch.float64).requires_grad_(True)
    logits = img.flatten(1) @ weight.t()
    norm = weight.norm()
    torch.testing.assert_close(r1_penalty(img, logits), norm.square().expand(5))
    torch.testing.assert_close(slope_penalty(img, logits), (norm - 1).square().expand(5))


def test_a_flat_critic_gives_a_finite_gradient_of_the_penalty():
    img = torch.zeros([2, 1, 2, 2]).requires_grad_(True)
    weight = torch.zeros([1, 4], requires_grad=True)
    slope_penalty(img, img.flatten(1) @ weight.t()).sum().backward()
    assert weight.grad.isfinite().all()


def test_interpolated_images_lie_between_the_two():
    real, fake = torch.full([3, 1, 2, 2], 10.0), torch.full([3, 1, 2, 2], 20.0)
    between = interpolate(real, fake, torch.tensor([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1))
    assert between[:, 0, 0, 0].tolist() == [20.0, 17.5, 10.0]
    assert between.requires_grad
    assert between.is_leaf


def test_the_penalty_has_the_gradient_that_finite_differences_have():
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 6), torch.nn.Softplus(), torch.nn.Linear(6, 1))
    critic = critic.double()
    real, fake, share = torch.randn(3, 2, 2, 2).double(), torch.randn(3, 2, 2, 2).double(), torch.rand(3, 1, 1, 1)
    img = interpolate(real, fake, share.double())

    def penalty(*params):
        return slope_penalty(img, torch.func.functional_call(critic, dict(zip(names, params, strict=True)), img))

    names, params = zip(*critic.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(penalty, params)
