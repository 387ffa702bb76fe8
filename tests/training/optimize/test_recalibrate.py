"""Recalibration: statistics are those of the weights."""

from __future__ import annotations

import torch

from training.optimize.recalibrate import batch_norms, recalibrate


class Normalised(torch.nn.Module):
    """z -> BN(W z), enough of a generator to measure statistics of."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 3, bias=False)
        self.bn = torch.nn.BatchNorm1d(3)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, z, c, truncation_psi=1):
        return self.dropout(self.bn(self.fc(z * truncation_psi)))


def test_recalibrated_statistics_are_those_of_the_weights():
    G = Normalised().train()
    G.bn.running_mean.fill_(99)
    torch.manual_seed(0)
    batches = [(torch.randn(64, 4), torch.zeros(64, 0)) for _ in range(50)]
    recalibrate(G, batches)
    y = torch.stack([G.fc(z) for z, _ in batches])  # [batches, N, 3]
    torch.testing.assert_close(G.bn.running_mean, y.mean(dim=(0, 1)))
    torch.testing.assert_close(G.bn.running_var, y.var(dim=1).mean(dim=0))
    assert G.bn.momentum == 0.1
    assert all(module.training for module in G.modules())
    assert batch_norms(G) == [G.bn]
