"""Path length regularization: the lengths and the penalty against their definitions."""

import pytest
import torch

from training.objective.pl import path_length_penalty, path_lengths


def test_the_mean_path_length_moves_first_and_carries_gradient():
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.5)
    assert mean.item() == 1.5
    assert not mean.requires_grad
    assert penalty.tolist() == [0.25, 2.25]
    penalty.mean().backward()
    # d/dl_i of 1/2 sum (l_j - m)^2 with m = 0.5 + 0.25 (l_0 + l_1): (l_i - m) - 0.25 sum (l_j - m)
    assert lengths.grad.tolist() == pytest.approx([-0.5 - 0.25, 1.5 - 0.25])


def test_the_lengths_of_a_linear_synthesis_are_those_of_its_matrix():
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn([12, 5], dtype=torch.float64, generator=draw)  # [C H W, D]
    ws = torch.randn([3, 2, 5], dtype=torch.float64, generator=draw).requires_grad_(True)  # [N, L, D]
    y = torch.randn([3, 3, 2, 2], dtype=torch.float64, generator=draw)
    img = (ws.sum(dim=1) @ weight.t()).view(3, 3, 2, 2)  # both copies of w have the same Jacobian
    expected = (y.flatten(1) / 2 @ weight).norm(dim=1)  # y / sqrt(H W)
    torch.testing.assert_close(path_lengths(img, ws, y), expected)
