"""Adversarial losses: logits in, one loss a sample out. Nothing is logged here.

Letters: N batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F


class Loss(Protocol):
    """What G and D minimise, as functions of D's logits [N, 1]; each returns [N, 1]."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor: ...

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor: ...

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor: ...


class Logistic:
    """The non-saturating logistic loss (Goodfellow et al. 2014, section 3)."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(G(z)))"""
        return F.softplus(-fake_logits)  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-log(1 - sigmoid(D(G(z))))"""
        return F.softplus(fake_logits)  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(x))"""
        return F.softplus(-real_logits)  # [N, 1]


LOSSES: dict[str, type[Loss]] = {'logistic': Logistic}
