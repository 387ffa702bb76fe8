"""Contents of a film as points of a latent space, frame by frame: a path through keyframes, or a sweep of one setting.

Letters: M cells of the grid, F frames of a sweep or between two keyframes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import ConfigError
from ganfoundry.directions import Directions
from ganfoundry.gen_video.paths import Interpolation, cells_of, closed_path, closed_path_on_sphere
from torch_utils.seeding import numpy_generator
from training.run.latents import Latents, Space


class Frame(NamedTuple):
    """Latents of one frame. psi: truncation of z. angle: position on the circle of noise, None for constant noise."""

    space: Space
    points: torch.Tensor  # w [M, num_ws, w_dim] or z [M, z_dim], float32
    c: torch.Tensor  # [M, c_dim]
    psi: float = 1
    angle: float | None = None


def morph(
    latents: Latents,
    c: torch.Tensor,
    *,
    cells: int,
    num_keyframes: int,
    num_between: int,
    interpolation: Interpolation,
    psi: float = 1,
) -> Iterator[Frame]:
    """Yields the frames of closed paths through keyframes, one path per cell.

    Args:
        latents: All keyframes; the paths lie in their space.
        c: Labels of the keyframes, [N, c_dim]. Labels of z change along a path as the points do.
        cells: M.
        num_keyframes: Keyframes per cell.
        num_between: F.
        interpolation: 'cubic' or 'linear'.
        psi: Truncation of z; w is final.
    """
    chosen = cells_of(len(latents.points), cells, num_keyframes)  # [M, K]
    path_of = closed_path if latents.space == 'w' else closed_path_on_sphere
    points, labels = latents.points.numpy(), c.numpy()
    paths = np.stack([path_of(points[cell], num_between, interpolation) for cell in chosen])  # [M, K * F, ...]
    label_paths = np.stack([closed_path(labels[cell], num_between, 'linear') for cell in chosen])  # [M, K * F, c_dim]
    for k in range(num_keyframes * num_between):
        yield Frame(latents.space, as_float32(paths[:, k]), as_float32(label_paths[:, k]), psi)


def as_float32(x: np.ndarray) -> torch.Tensor:
    """Returns an array as a float32 tensor."""
    return torch.from_numpy(x.astype(np.float32))


def positions(num_frames: int, *, there_and_back: bool) -> np.ndarray:
    """Returns the positions of a sweep, float64 [num_frames].

    Args:
        num_frames: F.
        there_and_back: Whether the sweep returns, half a cosine each way, so that the film repeats without a jump.
            Otherwise the first frame is at 0 and the last at 1.
    """
    if there_and_back:
        return (1 - np.cos(2 * math.pi * np.arange(num_frames) / num_frames)) / 2
    return np.linspace(0, 1, num_frames)


def sweep_truncation(z: Latents, c: torch.Tensor, psis: np.ndarray) -> Iterator[Frame]:
    """Yields the frames of a sweep of truncation.

    Args:
        z: Latents of the cells in z; the network truncates w if it has it, else z.
        c: Labels [M, c_dim].
        psis: Truncation of each frame, [F].
    """
    for psi in psis:
        yield Frame('z', z.points, c, float(psi))


def sweep_direction(
    base: Latents, c: torch.Tensor, found: Directions, index: int, steps: np.ndarray
) -> Iterator[Frame]:
    """Yields the frames of a walk along one direction.

    Args:
        base: Latents of the cells, in the space of the directions.
        c: Labels [M, c_dim].
        found: The directions of the network.
        index: Number of the direction, from 0.
        steps: Position of each frame in standard deviations of the latents, [F].

    Raises:
        ConfigError: If there is no such direction.
    """
    if not 0 <= index < len(found.vectors):
        raise ConfigError(f'--sweep=direction:{index}: this network has directions 0 to {len(found.vectors) - 1}')
    step = found.vectors[index] * found.deviations[index]  # [D]
    for position in steps:
        yield Frame(base.space, base.points + float(position) * step, c)


def sweep_noise(base: Latents, c: torch.Tensor, num_frames: int, psi: float = 1) -> Iterator[Frame]:
    """Yields the frames of a walk around the circle of noise, which ends where it began.

    Args:
        base: Latents of the cells.
        c: Labels [M, c_dim].
        num_frames: F.
        psi: Truncation of z.
    """
    for k in range(num_frames):
        yield Frame(base.space, base.points, c, psi, angle=2 * math.pi * k / num_frames)


class NoiseCircle:
    """Noise maps on a circle through a network's constant noise and second, seeded maps, at the same variance.

    Args:
        G: The network; `turn` changes its noise maps in place.
        seed: Seed of the second maps.

    Raises:
        ConfigError: If the network has no noise inputs.
    """

    def __init__(self, G: Any, seed: int) -> None:
        self._maps = [buffer for name, buffer in G.named_buffers() if name.endswith('noise_const')]
        if not self._maps:
            raise ConfigError(f'--sweep=noise: {type(G).__name__} has no noise inputs; sweep another setting')
        draw = numpy_generator(seed, 'noise of a film')
        self._first = [noise.clone() for noise in self._maps]
        self._second = [torch.from_numpy(draw.standard_normal(noise.shape)).to(noise) for noise in self._maps]

    def turn(self, angle: float) -> None:
        """Sets the noise maps to cos(angle) times the network's own plus sin(angle) times the seeded ones."""
        for noise, first, second in zip(self._maps, self._first, self._second, strict=True):
            noise.copy_(math.cos(angle) * first + math.sin(angle) * second)
