"""Path length regularization of G (StyleGAN2, Eq. 4), computed lazily.

Letters: N batch, C channels, H and W image size, L number of ws, D their width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import ImageSpec, StyleGenerator
from training.objective.term import Draw, Micro, Summand, Term, TermConfig, frequency, register_term

if TYPE_CHECKING:
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PathLengthConfig(TermConfig):
    """Settings of path length regularization, which needs a generator with a W space.

    weight: 0 switches it off.
    decay: rate at which the running mean of the lengths moves.
    batch_shrink: lengths are computed on 1 / batch_shrink of the batch.
    interval: as in `R1Config`. It corrects G's Adam even if the weight is 0, as in StyleGAN2-ADA's `cifar`.
    """

    weight: float = 2.0
    decay: float = 0.01
    batch_shrink: int = 2
    interval: int | None = 4

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'pl.weight', self.weight, 'must be non-negative')
        require(0 < self.decay <= 1, 'pl.decay', self.decay, 'must lie in (0, 1]')
        require(self.batch_shrink >= 1, 'pl.batch_shrink', self.batch_shrink, 'must be at least 1')
        require(self.interval is None or self.interval >= 1, 'pl.interval', self.interval, 'at least 1, or none')

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'path length {frequency(self.interval)} of G (weight {self.weight:g})'


def path_lengths(img: torch.Tensor, ws: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Returns the distance that each image moves per unit step of its ws: |J_w^T y| of StyleGAN2, Eq. 4.

    The step is the root mean square over the L copies of w; y is scaled by 1 / sqrt(H W), which makes the length
    independent of the resolution.

    Args:
        img: Images, synthesis(ws), [N, C, H, W].
        ws: Latents that require gradients, [N, L, D].
        direction: Direction y in image space, standard normal, [N, C, H, W].

    Returns:
        Lengths with a graph, [N].
    """
    y = direction / (img.shape[2] * img.shape[3]) ** 0.5
    (jacobian,) = torch.autograd.grad((img * y).sum(), ws, create_graph=True)  # [N, L, D]
    return jacobian.square().sum(dim=2).mean(dim=1).sqrt()  # [N]


def path_length_penalty(lengths: torch.Tensor, mean: torch.Tensor, decay: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the penalty on path lengths, (|J_w^T y| - a)^2 (StyleGAN2, Eq. 4).

    The mean moves first and the gradient flows through that step, as in the official implementation.

    Args:
        lengths: Path lengths with a graph, [N].
        mean: Running mean a, [].
        decay: Share of the new lengths in the mean.

    Returns:
        The penalty, [N], and the new running mean, detached, [].
    """
    moved = mean.lerp(lengths.mean(), decay)
    return (lengths - moved).square(), moved.detach()


@register_term('pl', config=PathLengthConfig)
class PathLengthRegularization(Term):
    """Path length regularization. The paths are G's alone: they see no augmentation.

    mean: running mean of the path lengths, [], which state files hold as `pl_mean`.
    """

    net = 'G'
    cfg: PathLengthConfig

    def __init__(self, cfg: PathLengthConfig, G: Any, D: Any, device: torch.device) -> None:
        super().__init__(cfg, G, D, device)
        self.mean = torch.zeros([], device=device)
        self.moving = (self.mean,)

    def attach(self, spec: ImageSpec) -> None:
        """Checks that G has a W space."""
        if not isinstance(self.G, StyleGenerator):
            raise ConfigError(
                f'pl.weight={self.cfg.weight}: path length regularization needs a generator with a W space, and '
                f'{type(self.G).__name__} has none; --set pl.weight=0'
            )

    def num_images(self, micro: Micro) -> int:
        """Returns the number of images whose paths are measured for a micro-batch."""
        return max(len(micro.img) // self.cfg.batch_shrink, 1)

    def regularize(self, micro: Micro, draw: Draw) -> Summand:
        """Returns the penalty on a share of the batch, and moves the mean."""
        return self.penalize(draw.ws(*draw.latents(self.num_images(micro))))

    def penalize(self, ws: torch.Tensor) -> Summand:
        """Returns the penalty at latents [N, L, D], and moves the mean."""
        img = self.G.synthesis(ws)  # [N, C, H, W]
        lengths = path_lengths(img, ws, torch.randn_like(img))  # [N]
        penalty, mean = path_length_penalty(lengths, self.mean, self.cfg.decay)  # [N], []
        self.mean.copy_(mean)
        loss = penalty * self.cfg.weight  # [N]
        return Summand(loss=loss, statistics={'Loss/pl_penalty': penalty, 'Loss/G/reg': loss})
