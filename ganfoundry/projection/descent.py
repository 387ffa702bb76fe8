"""Gradient descent from starting points to the latents of the targets.

Letters: N images in a batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ganfoundry.projection.noise_maps import WEIGHT, Maps, normalize_, regularizer
from ganfoundry.projection.perceptual import Distance, Parts
from ganfoundry.projection.schedule import learning_rate, noise_scale
from ganfoundry.projection.spaces import Drawer
from torch_utils.devices import deterministic_float32
from torch_utils.seeding import numpy_generator

BETAS = (0.9, 0.999)  # Adam's


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """The images to find.

    Attributes:
        drawer: Generator and space.
        targets: Images [N, C, H, W] in [-1, 1].
        c: Labels [N, label_dim].
        distance: The distance to minimize.
    """

    drawer: Drawer
    targets: torch.Tensor
    c: torch.Tensor
    distance: Distance


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploration:
    """The parts of Appendix D that explore: noise on w, and noise maps that are optimized, too.

    Attributes:
        std: Standard deviation of w.
        maps: The noise maps; changed in place.
        seed: Seed of the noise on w, which is the same for every image of a batch.
    """

    std: float
    maps: Maps
    seed: int


class Point(NamedTuple):
    """State of N projections at a step; all without gradients.

    points: as `Drawer` takes them. images: [N, C, H, W]. parts: distances of these images, [N] each.
    """

    step: int
    points: torch.Tensor
    images: torch.Tensor
    parts: Parts


def descend(
    problem: Problem, start: torch.Tensor, num_steps: int, exploration: Exploration | None = None
) -> Iterator[Point]:
    """Yields the state before every step and after the last one.

    The losses are summed over the images, and Adam has a state for every number: the path of an image does not depend
    on the other images of its batch, except for rounding.

    Args:
        problem: The images to find.
        start: Points [N, ...], as `Drawer` takes them.
        num_steps: Number of steps.
        exploration: The parts of Appendix D that explore; None: none. With them, the state is that of the noisy w,
            except after the last step.
    """
    points = start.clone().requires_grad_()
    maps = {} if exploration is None else exploration.maps
    adam = torch.optim.Adam([points, *maps.values()], betas=BETAS)
    with torch.no_grad(), deterministic_float32():
        embedded_targets = problem.distance.embed(problem.targets)
    for step in range(num_steps):
        for group in adam.param_groups:
            group['lr'] = learning_rate(step, num_steps)
        noisy = points if exploration is None else points + _noise(exploration, step, num_steps, points)
        with torch.enable_grad(), deterministic_float32():
            images, parts = _evaluate(problem, noisy, maps, embedded_targets)
            loss = problem.distance.total(parts)  # [N]
            if maps:
                loss = loss + WEIGHT * regularizer(maps)
            adam.zero_grad(set_to_none=True)
            loss.sum().backward()
        yield Point(step, points.detach().clone(), images.detach(), Parts(*(part.detach() for part in parts)))
        adam.step()
        normalize_(maps)
    with torch.no_grad(), deterministic_float32():
        images, parts = _evaluate(problem, points, maps, embedded_targets)
    yield Point(num_steps, points.detach().clone(), images, parts)


def _evaluate(
    problem: Problem, points: torch.Tensor, maps: Maps, embedded_targets: torch.Tensor
) -> tuple[torch.Tensor, Parts]:
    """Returns the images of points, drawn with noise maps where there are any, and the parts of their distances."""
    buffers = {f'G.{name}': noise for name, noise in maps.items()}
    images = torch.func.functional_call(problem.drawer, buffers, (points, problem.c))  # [N, C, H, W]
    embedded = problem.distance.embed(images)
    return images, problem.distance.parts(images, embedded, problem.targets, embedded_targets)


def _noise(exploration: Exploration, step: int, num_steps: int, points: torch.Tensor) -> torch.Tensor:
    """Returns the noise on w at a step, the same for every image, of the shape of `points`."""
    draw = numpy_generator(exploration.seed, 'projection noise', step)
    noise = torch.from_numpy(draw.standard_normal([1, *points.shape[1:]])).float().to(points.device)
    return noise.expand_as(points) * (exploration.std * noise_scale(step, num_steps))


class Best:
    """The best state of every image so far, for an optimization that may be interrupted at any step."""

    def __init__(self, distance: Distance) -> None:
        self._distance = distance
        self._least: torch.Tensor | None = None
        self.points: torch.Tensor | None = None

    def update(self, point: Point) -> None:
        """Takes the images of a state that are better than the ones before."""
        values = self._distance.total(point.parts)  # [N]
        if self._least is None or self.points is None:
            self._least, self.points = values, point.points
            return
        better = values < self._least
        self._least = self._least.where(~better, values)
        self.points[better] = point.points[better]
