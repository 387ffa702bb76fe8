"""Mapping network: its running mean of w."""

from __future__ import annotations

import torch

from tests.support.networks import tiny_G


def test_w_avg_moves_only_when_asked() -> None:
    G = tiny_G(w_avg_beta=0.9)
    z = torch.randn(64, 8)
    G(z, None)
    assert not G.mapping.w_avg.any()
    w = G.mapping(z, None, update_w_avg=True)[:, 0]
    torch.testing.assert_close(G.mapping.w_avg, 0.1 * w.mean(0))
    assert not G.mapping.w_avg.requires_grad
