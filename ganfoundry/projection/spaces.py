"""Spaces that images are projected into: z, w (one for all layers) and w+ (one per layer).

Letters: N images in a batch, L number of ws, P points of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from dnnlib.errors import ConfigError
from torch_utils.seeding import numpy_generator
from training.run.latents import Space, space_of

Coordinates = Literal['w', 'w+', 'z']
SPACES = ('w', 'w+', 'z', 'pti')
NUM_SAMPLES, SAMPLES_AT_ONCE = 10_000, 1_000  # Appendix D takes the mean of 10,000 samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Mean and spread of latents. mean: [D]. std: root of the mean squared distance to the mean, over all D."""

    mean: torch.Tensor
    std: float


class Drawer(torch.nn.Module):
    """Network from points of a space to images [N, C, H, W], with the stored noise.

    The generator is a submodule `G`, so that `torch.func.functional_call` can replace its buffers.
    """

    def __init__(self, G: Any, space: Coordinates) -> None:
        super().__init__()
        self.G, self.space = G, space

    def forward(self, points: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Draws points: w [N, w_dim], w+ [N, L, w_dim] or z [N, z_dim], the last with labels c [N, label_dim]."""
        if self.space == 'z':
            img: torch.Tensor = self.G(points, c, noise_mode='const')
        else:
            img = self.G.synthesis(expand(points, self.G.num_ws), noise_mode='const')
        return img.float()


def check_space(space: str | None, G: Any) -> str:
    """Returns the space to project into, by default w, or z for a generator without W.

    Args:
        space: One of `SPACES`, or None.
        G: The generator.

    Raises:
        ConfigError: If the generator does not have the space.
    """
    if space is not None and space not in SPACES:
        raise ConfigError(f'--space={space}: choose one of {", ".join(SPACES)}')
    if space in (None, 'z') or space_of(G) == 'w':
        return space or space_of(G)
    raise ConfigError(f'--space={space}: {type(G).__name__} has no W space; use --space=z')


def expand(points: torch.Tensor, num_ws: int) -> torch.Tensor:
    """Returns ws [N, L, w_dim] of w [N, w_dim]; ws are returned unchanged."""
    return points if points.ndim == 3 else points.unsqueeze(1).expand(-1, num_ws, -1)


def points_of(space: Coordinates, ws: torch.Tensor) -> torch.Tensor:
    """Returns the coordinates in w or w+ of ws [N, L, w_dim]; w is the mean over the layers."""
    return ws.mean(dim=1) if space == 'w' else ws


def stored(space: Coordinates, points: torch.Tensor, G: Any) -> tuple[Space, torch.Tensor]:
    """Returns points as a latents file holds them.

    Args:
        space: The space of the points.
        points: As `Drawer` takes them.
        G: The generator.

    Returns:
        'w' and ws [N, L, w_dim], or 'z' and z [N, z_dim], on the CPU.
    """
    if space == 'z':
        return 'z', points.cpu()
    return 'w', expand(points, G.num_ws).cpu().contiguous()


@torch.no_grad()
def statistics_of(G: Any, c: torch.Tensor) -> Statistics:
    """Returns the statistics of w, from 10,000 samples with label c [1, label_dim]; those of z for one without W."""
    if space_of(G) == 'z':
        return Statistics(mean=torch.zeros([G.z_dim], device=c.device), std=G.z_dim**0.5)
    draw = numpy_generator(0, 'projection statistics')
    parts = []
    for _ in range(NUM_SAMPLES // SAMPLES_AT_ONCE):
        z = torch.from_numpy(draw.standard_normal([SAMPLES_AT_ONCE, G.z_dim])).float().to(c.device)
        parts.append(G.mapping(z, c.expand(len(z), -1))[:, 0].cpu().double())  # [SAMPLES_AT_ONCE, w_dim]
    w = torch.cat(parts)
    mean = w.mean(dim=0)
    return Statistics(mean=mean.float().to(c.device), std=float((w - mean).square().sum(dim=1).mean().sqrt()))


@torch.no_grad()
def distance_from_mean(space: Coordinates, points: torch.Tensor, c: torch.Tensor, G: Any, of: Statistics) -> float:
    """Returns the distance of one point from the mean in standard deviations, the root of the mean square over layers.

    A typical sample has a distance of about 1. The smaller it is, the better edits of the latents work.

    Args:
        space: The space of the point.
        points: One point, as `Drawer` takes it, [1, ...].
        c: Its label, [1, label_dim].
        G: The generator.
        of: Statistics of w, or of z for a generator without W.
    """
    if space_of(G) == 'w':
        points = (G.mapping(points, c) if space == 'z' else expand(points, G.num_ws))[0]  # [L, w_dim]
    return float((points - of.mean).square().sum(dim=1).mean().sqrt()) / of.std
