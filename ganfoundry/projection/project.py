"""Projection of images into a generator, whatever the space and the method.

Letters: N images in a batch, C channels, H and W height and width.
"""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ganfoundry.drawing import Drawn, draw_points
from ganfoundry.points import stored_point
from ganfoundry.projection.descent import Best, Exploration, Problem, descend
from ganfoundry.projection.noise_maps import Maps, draw_maps
from ganfoundry.projection.perceptual import Distance, Parts, Perceptual
from ganfoundry.projection.settings import Settings
from ganfoundry.projection.spaces import (
    Drawer,
    Statistics,
    distance_from_mean,
    expand,
    statistics_of,
    stored,
)
from ganfoundry.projection.starts import Start, mean_of, nearest
from ganfoundry.projection.targets import Target, as_batch
from ganfoundry.projection.tuning import Pivot, Tuning
from torch_utils.devices import deterministic_float32
from torch_utils.images import from_pixels

# Receives the position of a target, and the image [1, C, H, W] of a step; returns whether to continue.
Watch = Callable[[int, torch.Tensor], bool]
Curve = list[tuple[float, float]]


@dataclass(kw_only=True)
class Projection:
    """The result for one image.

    Attributes:
        drawn: The point that was found, and its image, uint8 or uint16 [C, H, W].
        network: Name of the perceptual distance: 'lpips', 'efflite' or 'pixels'.
        perceptual: The perceptual distance between this image and the target.
        psnr: Peak signal-to-noise ratio of the two in dB; infinite if they are equal.
        from_mean: Distance of w (z without W) from its mean, in standard deviations.
        seconds: Duration; that of the first image of a batch includes the search for the starts.
        curve: Perceptual distance and mean squared error before each step and after the last one; those of a tuning
            follow.
        drift: Mean perceptual distance by which other images moved; None without a tuning.
        G: The generator that draws the image: the given one, or a copy after a tuning or with noise maps.
        changed: Whether `G` is such a copy.
    """

    drawn: Drawn
    network: str
    perceptual: float
    psnr: float
    from_mean: float
    seconds: float
    curve: Curve = field(repr=False)
    drift: float | None
    G: Any = field(repr=False)
    changed: bool

    @property
    def latents(self) -> torch.Tensor:
        """The point that was found, w [1, num_ws, w_dim] or z [1, z_dim], as `Network.draw` takes it."""
        return self.drawn.point.latent[None]

    @property
    def image(self) -> np.ndarray:
        """Its image, uint8 or uint16 [H, W, C]."""
        return self.drawn.image.transpose(1, 2, 0)


def project_batch(
    G: Any,
    targets: Sequence[Target],
    c: torch.Tensor | None,
    settings: Settings,
    perceptual: Perceptual,
    *,
    initial: torch.Tensor | None = None,
    watch: Watch = lambda index, image: True,
) -> Iterator[Projection]:
    """Yields the projection of each image.

    The images share the samples among which their starts are found. After that each is computed by itself: rounding
    depends on the number of images that a network draws at a time, and a few hundred steps amplify it until two paths
    have nothing in common. So an image has the same result, bit for bit, with any other images.

    Args:
        G: The generator, in evaluation mode without gradients of its parameters.
        targets: The images, as the generator draws them.
        c: Label of all images [1, label_dim]; None: that of the nearest sample of all classes.
        settings: The settings.
        perceptual: The perceptual distance.
        initial: Starting points [N, ...] of a file, if `settings.start` is one.
        watch: Receives the image of every step. If it asks to stop, the state so far is the last result.
    """
    began, device = time.monotonic(), next(G.parameters()).device
    distance = Distance(network=perceptual, weight=settings.mse_weight)
    drawer = Drawer(G, settings.coordinates)
    batch = as_batch(targets, device)  # [N, C, H, W]
    start = _start(drawer, batch, None if c is None else c.to(device), distance, settings, initial)
    for i, target in enumerate(targets):
        one = slice(i, i + 1)
        problem = Problem(drawer=drawer, targets=batch[one], c=start.c[one], distance=distance)
        going = _Going(functools.partial(watch, i))
        yield _project(problem, target, start.points[one], settings, going, began)
        if not going.on:
            return
        began = time.monotonic()


class _Going:
    """Memory of whether `watch` has asked to stop."""

    def __init__(self, watch: Callable[[torch.Tensor], bool]) -> None:
        self._watch, self.on = watch, True

    def __call__(self, image: torch.Tensor) -> bool:
        """Passes an image on; returns whether to continue."""
        self.on = self._watch(image)
        return self.on


def _project(
    problem: Problem, target: Target, start: torch.Tensor, settings: Settings, going: _Going, began: float
) -> Projection:
    """Projects one image.

    Args:
        problem: The image to find.
        target: The same as pixels.
        start: Its starting point [1, ...].
        settings: The settings.
        going: Receives the image of every step.
        began: Time when the work on it began.
    """
    G, c = problem.drawer.G, problem.c
    statistics = statistics_of(G, c)
    maps = draw_maps(G, 1, settings.seed) if settings.method == 'stylegan2' else {}
    points, curve = _descend(problem, start, statistics, maps, settings, going)
    drift = None
    if maps:
        G = with_maps(G, maps)
    elif settings.space == 'pti' and going.on:
        pivot = Pivot(ws=expand(points, G.num_ws), target=problem.targets, c=c, statistics=statistics)
        tuning = Tuning(G, pivot, problem.distance, max_drift=settings.max_drift, seed=settings.seed)
        curve += _tune(tuning, settings.tune_steps, going)
        G, drift = tuning.G, tuning.drift
    drawn, parts = _draw(Drawer(G, settings.coordinates), points, c, target, problem.distance)
    return Projection(
        drawn=drawn,
        network=problem.distance.network.name,
        perceptual=float(parts.perceptual),
        psnr=psnr_of(float(parts.mse)),
        from_mean=distance_from_mean(settings.coordinates, points, c, G, statistics),
        seconds=time.monotonic() - began,
        curve=curve,
        drift=drift,
        G=G,
        changed=G is not problem.drawer.G,
    )


def _start(
    drawer: Drawer,
    batch: torch.Tensor,
    c: torch.Tensor | None,
    distance: Distance,
    settings: Settings,
    initial: torch.Tensor | None,
) -> Start:
    """Returns the starting points and labels.

    Args:
        drawer: Generator and space.
        batch: Images [N, C, H, W] in [-1, 1].
        c: Label of all images [1, label_dim]; None: that of the nearest sample.
        distance: The distance.
        settings: The settings.
        initial: Points of a file, or None.
    """
    if settings.start == 'nearest' or c is None:
        with deterministic_float32():
            start = nearest(drawer, batch, c, distance, settings.seed)
        labels = start.c
        if settings.start == 'nearest':
            return start
    else:
        labels = c.expand(len(batch), -1)
    if initial is not None:
        return Start(initial.to(batch.device), labels)
    statistics = [statistics_of(drawer.G, label[None]) for label in labels]
    return Start(mean_of(drawer.space, statistics, drawer.G), labels)


def _descend(
    problem: Problem, start: torch.Tensor, statistics: Statistics, maps: Maps, settings: Settings, going: _Going
) -> tuple[torch.Tensor, Curve]:
    """Runs the descent of one image.

    Args:
        problem: The image to find.
        start: Its starting point [1, ...].
        statistics: Of w.
        maps: Noise maps to optimize, for the method of StyleGAN2.
        settings: The settings.
        going: Receives the image of every step.

    Returns:
        The point that was found, and the curve.
    """
    exploration = None
    if settings.method == 'stylegan2':
        exploration = Exploration(std=statistics.std, maps=maps, seed=settings.seed)
    best, points, curve = Best(problem.distance), start, Curve()
    for point in descend(problem, start, settings.num_steps, exploration):
        best.update(point)
        points = point.points
        curve.append((float(point.parts.perceptual), float(point.parts.mse)))
        if not going(point.images):
            break
    # With noise on w the distance of a step is that of another point: then the last point is the result.
    return points if exploration is not None or best.points is None else best.points, curve


def _tune(tuning: Tuning, num_steps: int, going: _Going) -> Curve:
    """Runs a tuning; returns its curve."""
    curve, steps = Curve(), tuning.run(num_steps)
    for step in steps:
        curve.append((float(step.parts.perceptual), float(step.parts.mse)))
        if not going(step.image):
            break
    steps.close()  # leaves the last state within the limit of the drift
    return curve


def with_maps(G: Any, maps: Maps) -> Any:
    """Returns a copy of a generator with other noise maps [1, 1, height, width]."""
    changed = copy.deepcopy(G)
    changed.load_state_dict({name: noise[0, 0].detach() for name, noise in maps.items()}, strict=False)
    return changed


def _draw(
    drawer: Drawer, points: torch.Tensor, c: torch.Tensor, target: Target, distance: Distance
) -> tuple[Drawn, Parts]:
    """Draws the image of a point as generate.py does, and measures its pixels.

    Args:
        drawer: The generator that draws it, and the space of the point.
        points: The point [1, ...].
        c: Its label [1, label_dim].
        target: The image to find.
        distance: The distance.

    Returns:
        The point with its image, and the distances to the target.
    """
    space, latents = stored(drawer.space, points, drawer.G)
    point = stored_point(target.name, space, latents[0], c[0].cpu())
    (drawn,) = draw_points(drawer.G, [point], bits=8 * target.pixels.itemsize)
    image, other = (from_pixels(torch.from_numpy(p[None])).to(points.device) for p in (drawn.image, target.pixels))
    with torch.no_grad(), deterministic_float32():
        return drawn, distance.parts(image, distance.embed(image), other, distance.embed(other))


def psnr_of(mse: float) -> float:
    """Returns the peak signal-to-noise ratio in dB of a mean squared error of values in [-1, 1]."""
    return 10 * math.log10(4 / mse) if mse > 0 else math.inf
