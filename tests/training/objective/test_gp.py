"""The gradient penalty of WGAN-GP against its formula."""

import torch

from training.objective.gp import interpolate, slope_penalty


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
