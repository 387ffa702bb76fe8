"""StyleGAN2's networks: every parameter takes part."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.support.networks import tiny_D, tiny_G


@pytest.mark.parametrize('architecture', ['skip', 'resnet', 'orig'])
def test_every_parameter_of_g_and_d_gets_a_gradient(architecture: str) -> None:
    G, D = tiny_G(architecture=architecture), tiny_D(3, architecture=architecture, mbstd_group=2)
    c = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    D(G(torch.randn(4, 8), None), c).sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert float(p.grad.abs().sum()) > 0, name
