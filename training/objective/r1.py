"""R1, the gradient penalty on real images (Mescheder et al. 2018, Eq. 9), computed lazily or with D's main loss.

Letters: N batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from dnnlib.config import require
from training.objective.term import Draw, Micro, Scored, Summand, Term, TermConfig, frequency, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class R1Config(TermConfig):
    """Settings of R1.

    gamma: weight; 0 switches it off.
    interval: number of iterations from one computation to the next. The gradient is multiplied by the interval and Adam
        is corrected (StyleGAN2, appendix B). None computes it in every step, within the main loss.
    shared: whether the penalty is that of the images, augmentations and logits of the main loss, which saves passes
        of their own; needs `interval` None.
    """

    gamma: float = 10.0
    interval: int | None = 16
    shared: bool = False

    def __post_init__(self) -> None:
        require(self.gamma >= 0, 'r1.gamma', self.gamma, '--gamma must be non-negative')
        require(self.interval is None or self.interval >= 1, 'r1.interval', self.interval, 'at least 1, or none')

    @property
    def active(self) -> bool:
        """Whether gamma is positive."""
        return self.gamma > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'R1 {frequency(self.interval)} ({describe_gamma(self.gamma, cfg)})'

    def check(self, name: str, cfg: RunConfig) -> None:
        """Raises ConfigError if a shared penalty is lazy."""
        check_shared(name, self.shared, cfg)


def describe_gamma(gamma: float, cfg: RunConfig) -> str:
    """Returns the words for a weight and its schedule."""
    final = cfg.schedule.gamma
    return f'gamma {gamma:g}' if final is None else f'gamma {gamma:g} to {final:g}'


def check_shared(name: str, shared: bool, cfg: RunConfig) -> None:
    """Raises ConfigError if a penalty of the main loss's own images is not computed in every step.

    Args:
        name: Name of the term.
        shared: Whether the term shares the passes of the main loss.
        cfg: Config of the run.
    """
    require(
        not shared or cfg.r1.interval is None,
        f'{name}.shared',
        shared,
        f'the main loss runs in every step, r1.interval={cfg.r1.interval}; --set r1.interval=none',
    )


def r1_penalty(
    img: torch.Tensor,  # [N, C, H, W], requires grad
    logits: torch.Tensor,  # [N, 1] = D(img)
) -> torch.Tensor:
    """Returns the squared norm of D's gradient at each image, [N] (Mescheder et al. 2018, without gamma / 2).

    At real images it is R1 (Eq. 9), at generated ones R2 (Eq. 10). The result carries a graph: D's second derivatives.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), img, create_graph=True)  # [N, C, H, W]
    return gradient.square().sum(dim=(1, 2, 3))  # [N]


def gradient_summand(name: str, gamma: float, penalty: torch.Tensor) -> Summand:
    """Returns the weighted penalty, gamma / 2 times the squared norm, with its statistics.

    Args:
        name: Name of the term, 'r1' or 'r2'.
        gamma: Weight.
        penalty: Squared norm of D's gradient at each image, [N].
    """
    loss = penalty * (gamma / 2)  # [N]
    return Summand(loss=loss, statistics={f'Loss/{name}_penalty': penalty, 'Loss/D/reg': loss})


class InputGradient(Term):
    """Base class of R1 and R2: gamma / 2 times the squared norm of D's gradient at images, through the augmentation.

    generated: whether the images are generated.
    gamma: weight in this step, which the trainer sets from the run's schedule.
    """

    generated: ClassVar[bool]

    def __init__(self, cfg: Any, G: Any, D: Any, device: torch.device) -> None:
        super().__init__(cfg, G, D, device)
        self.gamma: float = cfg.gamma
        self.shares_main = cfg.shared

    def on_logits(self, scored: Scored) -> Summand | None:
        """Returns the penalty at the images of the main loss, if the term shares them."""
        if not self.shares_main or scored.generated != self.generated:
            return None
        return gradient_summand(self.name, self.gamma, r1_penalty(scored.img, scored.logits))

    def regularize(self, micro: Micro, draw: Draw) -> Summand:
        """Returns the penalty at images of its own passes."""
        img, logits = self.score(micro, draw)
        return gradient_summand(self.name, self.gamma, r1_penalty(img, logits))

    def score(self, micro: Micro, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images [N, C, H, W] that require a gradient, and their logits [N, 1]."""
        raise NotImplementedError


@register_term('r1', config=R1Config)
class R1(InputGradient):
    """R1 on the real images of a micro-batch."""

    generated = False

    def score(self, micro: Micro, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        img = micro.img.detach().requires_grad_(True)  # [N, C, H, W]
        return img, draw.score_real(img, micro.c)
