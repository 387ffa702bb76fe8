"""Adversarial losses: D's logits in, one loss per sample out. Nothing is logged here.

Most losses score real and generated images separately (`Separable`); a relativistic loss scores pairs of them
(`Paired`). A loss is a class with one registration, here or in a plug-in, and the name of the registration is the value
of `--set loss.kind=NAME`:

    @register_loss('hinge')
    class Hinge:
        boundary = 0.0
        ...

Letters: N batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F

from dnnlib.config import require
from dnnlib.registry import Registry


@runtime_checkable
class Separable(Protocol):
    """A loss of G and D as functions of D's logits [N, 1]; each returns [N, 1].

    boundary: the logit at which D is undecided. None if a logit, and its sign, says nothing by itself.
    """

    boundary: float | None

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns G's loss on generated images."""
        ...

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns D's loss on generated images."""
        ...

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns D's loss on real images."""
        ...


@runtime_checkable
class Paired(Protocol):
    """A loss of G and D as functions of D's logits [N, 1] of as many generated as real images, in pairs.

    boundary: as in `Separable`.
    """

    boundary: float | None

    def generator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns G's loss of each pair."""
        ...

    def discriminator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns D's loss of each pair."""
        ...


Loss = Separable | Paired
LOSSES: Registry[Callable[[], Loss]] = Registry('loss.kind', entry_points='ganfoundry.losses')
T = TypeVar('T', bound=type)


def register_loss(name: str) -> Callable[[T], T]:
    """Registers a class as the adversarial loss `--set loss.kind=name`. It is called without arguments.

    Raises ConfigError if another module has registered the name.
    """

    def decorate(cls: T) -> T:
        if not isinstance(cls, (Separable, Paired)):  # the class has the attributes that its instances have
            raise TypeError(
                f'register_loss({name!r}): {cls.__name__} needs `boundary` and the methods of Separable or Paired'
            )
        LOSSES.register(name, cls, module=cls.__module__)
        return cls

    return decorate


@register_loss('cross_entropy')
@register_loss('logistic')
class Logistic:
    """The non-saturating logistic loss, or cross-entropy (Goodfellow et al. 2014, section 3)."""

    boundary = 0.0

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns -log sigmoid(D(G(z)))."""
        return F.softplus(-fake_logits)  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns -log(1 - sigmoid(D(G(z))))."""
        return F.softplus(fake_logits)  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns -log sigmoid(D(x))."""
        return F.softplus(-real_logits)  # [N, 1]


@register_loss('hinge')
class Hinge:
    """The hinge loss (Lim and Ye 2017; Miyato et al. 2018, Eq. 16 and 17)."""

    boundary = 0.0

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns -D(G(z))."""
        return -fake_logits  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns max(0, 1 + D(G(z)))."""
        return F.relu(1 + fake_logits)  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns max(0, 1 - D(x))."""
        return F.relu(1 - real_logits)  # [N, 1]


@register_loss('lsgan')
class LeastSquares:
    """The least-squares loss with targets 1 for real and 0 for generated (Mao et al. 2017, Eq. 9), without its 1/2."""

    boundary = 0.5

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns (D(G(z)) - 1)^2."""
        return (fake_logits - 1).square()  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns D(G(z))^2."""
        return fake_logits.square()  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns (D(x) - 1)^2."""
        return (real_logits - 1).square()  # [N, 1]


@register_loss('wasserstein')
class Wasserstein:
    """The critic's loss of Arjovsky et al. (2017). It needs a Lipschitz constraint, for instance `gp.weight=10`.

    It compares logits with each other, so that a logit has no meaning by itself.
    """

    boundary = None

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns -D(G(z))."""
        return -fake_logits  # [N, 1]

    def discriminator_fake(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Returns D(G(z))."""
        return fake_logits  # [N, 1]

    def discriminator_real(self, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns -D(x)."""
        return -real_logits  # [N, 1]


@register_loss('relativistic')
class Relativistic:
    """The logistic loss of pairs (Jolicoeur-Martineau 2019); with R1 and R2, R3GAN's objective (Huang et al. 2024)."""

    boundary = None

    def generator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns -log sigmoid(D(G(z)) - D(x))."""
        return F.softplus(real_logits - fake_logits)  # [N, 1]

    def discriminator_pairs(self, fake_logits: torch.Tensor, real_logits: torch.Tensor) -> torch.Tensor:
        """Returns -log sigmoid(D(x) - D(G(z)))."""
        return F.softplus(fake_logits - real_logits)  # [N, 1]


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The adversarial loss, by the name of its registration. Every architecture takes every one.

    kind: name of the loss. 'cross_entropy' is what some papers call 'logistic', the non-saturating loss of Goodfellow
        et al. (2014).
    labels: labels of generated images: 'drawn' from the data set, or 'paired', those of the real images of the
        micro-batch at the same positions, so that a pair has one label.
    """

    kind: str = 'logistic'
    labels: Literal['drawn', 'paired'] = 'drawn'

    def __post_init__(self) -> None:
        require(self.labels in ('drawn', 'paired'), 'loss.labels', self.labels, 'one of drawn, paired')
        LOSSES.get(self.kind)  # raises ConfigError that lists the known names and the nearest

    def build(self) -> Loss:
        """Returns an instance of the loss."""
        return LOSSES.get(self.kind)()

    @property
    def boundary(self) -> float | None:
        """The logit at which D is undecided; None if a logit has no meaning by itself."""
        return self.build().boundary

    @property
    def paired(self) -> bool:
        """Whether the loss pairs generated images with real ones."""
        return isinstance(self.build(), Paired)
