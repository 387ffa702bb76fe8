"""R1 and the other penalties on a linear critic, against its weight."""

import torch

from training.objective.gp import slope_penalty
from training.objective.r1 import gradient_summand, r1_penalty


def test_penalties_of_a_linear_critic_are_those_of_its_weight():
    weight = torch.randn([1, 12], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    img = torch.randn([5, 3, 2, 2], dtype=torch.float64).requires_grad_(True)
    logits = img.flatten(1) @ weight.t()
    norm = weight.norm()
    torch.testing.assert_close(r1_penalty(img, logits), norm.square().expand(5))
    torch.testing.assert_close(slope_penalty(img, logits), (norm - 1).square().expand(5))


def test_the_loss_is_half_of_gamma_times_the_penalty():
    penalty = torch.tensor([2.0, 6.0])
    summand = gradient_summand('r1', 0.5, penalty)
    assert summand.loss.tolist() == [0.5, 1.5]
    assert summand.statistics.keys() == {'Loss/r1_penalty', 'Loss/D/reg'}
