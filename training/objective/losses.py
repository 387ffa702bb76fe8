"""Adversarial losses: logits in, one loss a sample out. Nothing is logged here.

Most score real and generated images apart (`Separable`); a relativistic loss scores pairs of them (`Paired`).
Letters: N batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F

from dnnlib.config import require


@runtime_checkable
class Separable(Protocol):
    """What G and D minimise, as functions of D's logits [N, 1]; each returns [N, 1]."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor: ...

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor: ...

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor: ...


@runtime_checkable
class Paired(Protocol):
    """What G and D minimise, as functions of D's logits [N, 1] of as many generated as real images, in pairs."""

    def generator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor: ...

    def discriminator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor: ...


class Logistic:
    """The non-saturating logistic loss, or cross-entropy (Goodfellow et al. 2014, section 3)."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(G(z)))"""
        return F.softplus(-fake_logits)  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-log(1 - sigmoid(D(G(z))))"""
        return F.softplus(fake_logits)  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(x))"""
        return F.softplus(-real_logits)  # [N, 1]


class Hinge:
    """The hinge loss (Lim and Ye 2017; Miyato et al. 2018, Eq. 16 and 17)."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-D(G(z))"""
        return -fake_logits  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """max(0, 1 + D(G(z)))"""
        return F.relu(1 + fake_logits)  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """max(0, 1 - D(x))"""
        return F.relu(1 - real_logits)  # [N, 1]


class LeastSquares:
    """The least-squares loss with targets 1 for real and 0 for generated (Mao et al. 2017, Eq. 9), without its 1/2."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """(D(G(z)) - 1)^2"""
        return (fake_logits - 1).square()  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """D(G(z))^2"""
        return fake_logits.square()  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """(D(x) - 1)^2"""
        return (real_logits - 1).square()  # [N, 1]


class Wasserstein:
    """The critic's loss of Arjovsky et al. (2017); it needs a Lipschitz constraint, for instance `gp.weight=10`."""

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """-D(G(z))"""
        return -fake_logits  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """D(G(z))"""
        return fake_logits  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """-D(x)"""
        return -real_logits  # [N, 1]


class Relativistic:
    """The logistic loss of pairs (Jolicoeur-Martineau 2019); with R1 and R2, R3GAN's objective (Huang et al. 2024)."""

    def generator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(G(z)) - D(x))"""
        return F.softplus(real_logits - fake_logits)  # [N, 1]

    def discriminator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """-log sigmoid(D(x) - D(G(z)))"""
        return F.softplus(fake_logits - real_logits)  # [N, 1]


LOSSES: dict[str, type[Separable] | type[Paired]] = {
    'logistic': Logistic,
    'cross_entropy': Logistic,
    'hinge': Hinge,
    'lsgan': LeastSquares,
    'wasserstein': Wasserstein,
    'relativistic': Relativistic,
}

# The logit at which D is undecided, by loss. The other losses compare logits with each other: one by itself, and its
# sign, says nothing.
BOUNDARIES: dict[str, float] = {'logistic': 0.0, 'cross_entropy': 0.0, 'hinge': 0.0, 'lsgan': 0.5}


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The adversarial loss, by its name in `LOSSES`. Every architecture takes every one.

    'cross_entropy' is what some papers call 'logistic', the non-saturating loss of Goodfellow et al. (2014).
    """

    kind: Literal['logistic', 'cross_entropy', 'hinge', 'lsgan', 'wasserstein', 'relativistic'] = 'logistic'

    def __post_init__(self) -> None:
        require(self.kind in LOSSES, 'loss.kind', self.kind, f'one of {", ".join(LOSSES)}')
