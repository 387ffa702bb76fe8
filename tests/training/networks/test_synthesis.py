"""Synthesis network: noise modes."""

from __future__ import annotations

import pytest
import torch

from tests.support.networks import tiny_G


def test_noise_modes() -> None:
    G = tiny_G()
    ws = G.mapping(torch.randn(2, 8), None)
    with torch.no_grad():
        for block in G.synthesis.blocks():
            block.conv1.noise_strength.fill_(0.5)
    random = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        random.append(G.synthesis(ws, noise_mode='random'))
    assert torch.equal(random[0], random[1])
    assert not torch.equal(random[0], random[2])
    assert torch.equal(G.synthesis(ws, noise_mode='const'), G.synthesis(ws, noise_mode='const'))
    with pytest.raises(ValueError, match="noise_mode 'fixed'"):
        G.synthesis(ws, noise_mode='fixed')
