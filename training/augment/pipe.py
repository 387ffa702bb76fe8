"""ADA's augmentation pipe (Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020).

Every image has its own transforms, and every transform a gate, which opens with probability p times the transform's
multiplier. They are drawn on the host for a whole batch, so that the host never waits for the device, and a stage
processes only the images that it changes. The result is differentiable any number of times in the images; on CUDA, the
order of the gradient's sums is not fixed.

Transforms are drawn in the order in which they are applied: xflip, rotate90, xint, scale, rotate, aniso, rotate, xfrac;
brightness, contrast, lumaflip, hue, saturation; imgfilter; noise; cutout. The pixels of the noise are drawn last, from
the device's generator.

Letters: N batch, C channels, K color channels, H and W height and width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from training.augment import color, corruption, filtering, geometric
from training.augment.presets import Ranges, Transforms


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Draws for a batch: float64 on the host, None for a stage without transforms."""

    inverse: torch.Tensor | None  # [N, 3, 3] G_inv
    colors: torch.Tensor | None  # [N, 4, 4]
    gains: torch.Tensor | None  # [N, 4] gains of the filter's bands
    sigma: torch.Tensor | None  # [N] standard deviations of the noise
    windows: torch.Tensor | None  # [N, 3] rectangles of the cutout


Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images [M, C, H, W], values [M, ...] -> images
Prepared = tuple[Function, torch.Tensor]  # a stage's function, and its values for some images


@dataclass(frozen=True, slots=True)
class Work:
    """One stage and the images that it changes."""

    function: Function
    chosen: torch.Tensor  # [M] indices of the images
    values: torch.Tensor  # [M, ...] parameters of the stage per image
    colors_only: bool


class AugmentPipe:
    """Augmentation pipe of ADA.

    Args:
        transforms: multipliers of the probabilities, as in `presets.PRESETS`.
        ranges: ranges of the transforms; None: the paper's.
    """

    def __init__(self, transforms: Transforms, ranges: Ranges | None = None) -> None:
        self.transforms = transforms
        self.ranges = Ranges() if ranges is None else ranges

    def __call__(self, img: torch.Tensor, p: float) -> torch.Tensor:
        """Returns an augmented batch, the first part of `augment`, which has the arguments and errors."""
        return self.augment(img, p)[0]

    def augment(self, img: torch.Tensor, p: float) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Augments a batch.

        Args:
            img: [N, C, H, W] float32, nominally in [-1, 1]; float64 for checks. Color transforms, filter and noise
                apply to the first 3 channels of 3 or more, or to the first of 1 or 2; the others to all channels.
            p: strength, at least 0. Above 1, all gates are open.

        Returns:
            Images, [N, C, H, W] in the dtype of `img`; at p = 0 `img` itself, without any draw. And the maps of the
            plane by which they were moved, G_inv float64 [N, 3, 3] on the host; None if no image was.

        Raises:
            ConfigError: if images are too small for the image filter, also at p = 0.
            ValueError: if shape, dtype or p are invalid.
        """
        if img.ndim != 4 or img.dtype not in (torch.float32, torch.float64):
            raise ValueError(f'augment: expected img [N, C, H, W] in float32, got {list(img.shape)} in {img.dtype}')
        if not p >= 0:
            raise ValueError(f'augment: p={p}: must be at least 0')
        self.require_size(*img.shape[2:])
        if p == 0 or len(img) == 0:
            return img, None
        draws = self.draw(img.shape, p)
        for work in _send(self._plan(draws, img.shape), img):
            img = _carry_out(work, img)
        return img, draws.inverse

    def require_size(self, height: int, width: int) -> None:
        """Raises ConfigError if the transforms do not support images of this size."""
        if self.transforms.imgfilter > 0:
            filtering.require_size(height, width)

    def draw(self, shape: torch.Size, p: float) -> Draws:
        """Returns draws for images of this shape [N, C, H, W], from torch's CPU generator."""
        n, channels, height, width = shape
        drawn_for = (self.transforms, self.ranges, n, p)
        return Draws(
            inverse=geometric.draw(*drawn_for, height, width),
            colors=color.draw(*drawn_for, color.num_colors(channels)),
            gains=filtering.draw(*drawn_for),
            sigma=corruption.draw_noise(*drawn_for),
            windows=corruption.draw_cutout(*drawn_for),
        )

    def _plan(self, draws: Draws, shape: torch.Size) -> list[Work]:
        """Returns the stages that change at least one image, on the host; neutral draws select no image."""
        channels, height, width = shape[1:]
        k = color.num_colors(channels)
        stages: tuple[tuple[torch.Tensor | None, torch.Tensor, Callable[[torch.Tensor], Prepared], bool], ...] = (
            # drawn, neutral, function and its values, on colors only
            (draws.inverse, torch.eye(3), lambda inverse: _prepare_warp(inverse, height, width), False),
            (draws.colors, torch.eye(4), lambda maps: (color.apply, color.plan(maps, k)), True),
            (draws.gains, torch.ones(4), lambda gains: (filtering.apply, filtering.plan(gains)), True),
            (draws.sigma, torch.zeros([]), lambda sigma: (corruption.apply_noise, sigma), True),
            (draws.windows, torch.zeros(3), lambda windows: (corruption.apply_cutout, windows), False),
        )
        plan = []
        for drawn, neutral, prepare, colors_only in stages:
            if drawn is None:
                continue
            chosen = (drawn != neutral).reshape(len(drawn), -1).any(dim=1).nonzero()[:, 0]  # [M]
            if len(chosen):
                function, values = prepare(drawn[chosen])
                plan.append(Work(function, chosen, values, colors_only))
        return plan


def _prepare_warp(inverse: torch.Tensor, height: int, width: int) -> Prepared:
    margins, theta = geometric.plan(inverse, height, width)
    return functools.partial(geometric.apply, margins=margins), theta


def _send(plan: list[Work], img: torch.Tensor) -> list[Work]:
    """Returns the plan with its tensors on the images' device, by one asynchronous copy."""
    tensors = [tensor for work in plan for tensor in (work.chosen, work.values)]
    if not tensors:
        return []
    packed = torch.cat([tensor.to(img.dtype).flatten() for tensor in tensors]).to(img.device, non_blocking=True)
    parts = packed.split([tensor.numel() for tensor in tensors])
    sent = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    # float32 represents every index below 2^24.
    return [
        replace(work, chosen=chosen.long(), values=values)
        for work, chosen, values in zip(plan, sent[::2], sent[1::2], strict=True)
    ]


def _carry_out(work: Work, img: torch.Tensor) -> torch.Tensor:
    """Returns the batch [N, C, H, W] with one stage applied to the chosen images."""
    all_of_them = len(work.chosen) == len(img)
    part = img if all_of_them else img.index_select(0, work.chosen)  # [M, C, H, W]
    k = color.num_colors(img.shape[1]) if work.colors_only else img.shape[1]
    changed = work.function(part[:, :k], work.values)
    if k < img.shape[1]:
        changed = torch.cat([changed, part[:, k:]], dim=1)
    return changed if all_of_them else img.index_copy(0, work.chosen, changed)
