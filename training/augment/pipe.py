"""ADA's augmentation pipe (Karras et al., "Training generative adversarial networks with limited data", NeurIPS 2020).

Every image gets its own transforms: each has a gate, open with probability p times the transform's multiplier. They
are drawn on the host for a whole batch, so that the device is never asked, and a stage works on those images only that
it would change. Differentiable any number of times in the images; on CUDA their gradient is summed in no fixed order.

The order of drawing is that of applying: xflip, rotate90, xint, scale, rotate, aniso, rotate, xfrac; brightness,
contrast, lumaflip, hue, saturation; imgfilter; noise; cutout. The pixels of the noise come last, from the device's
generator.
Letters: N batch, C channels, K colour channels, H and W height and width.
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
    """What was drawn for a batch: float64 on the host, None for a stage that has no transform."""

    inverse: torch.Tensor | None  # [N, 3, 3] G_inv
    colours: torch.Tensor | None  # [N, 4, 4]
    gains: torch.Tensor | None  # [N, 4] of the filter's bands
    sigma: torch.Tensor | None  # [N] of the noise
    windows: torch.Tensor | None  # [N, 3] that are cut out


Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images [M, C, H, W], values [M, ...] -> images
Prepared = tuple[Function, torch.Tensor]  # a stage's function, and its values for some images


@dataclass(frozen=True, slots=True)
class Work:
    """One stage on the images that it changes."""

    function: Function
    chosen: torch.Tensor  # [M] indices of the images
    values: torch.Tensor  # [M, ...] what the stage does to each
    colours_only: bool


class AugmentPipe:
    """Applies the transforms to images, each with its own probability.

    transforms: which, as those of `presets.PRESETS`. ranges: how far they go.
    """

    def __init__(self, transforms: Transforms, ranges: Ranges | None = None) -> None:
        self.transforms = transforms
        self.ranges = Ranges() if ranges is None else ranges

    def __call__(self, img: torch.Tensor, p: float) -> torch.Tensor:
        """Augments a batch.

        Args:
            img: [N, C, H, W] float32, values around [-1, 1]; float64 for checks. Colours are the first 3 channels of 3
                and more, the first of 1 and 2; the others are moved and cut out, no more.
            p: strength, from 0. Above 1 the gates stay open.

        Returns:
            [N, C, H, W], dtype of `img`; at p = 0 `img` itself, with nothing drawn.

        Raises:
            ConfigError: images too small for the image filter, whatever p is: it would show in the middle of a run.
            ValueError: another dtype or shape, or a p that is no strength.
        """
        if img.ndim != 4 or img.dtype not in (torch.float32, torch.float64):
            raise ValueError(f'augment: expected img [N, C, H, W] in float32, got {list(img.shape)} in {img.dtype}')
        if not p >= 0:
            raise ValueError(f'augment: p={p}: must be at least 0')
        self.require_size(*img.shape[2:])
        if p == 0 or len(img) == 0:
            return img
        for work in _send(self._plan(self.draw(img.shape, p), img.shape), img):
            img = _carry_out(work, img)
        return img

    def require_size(self, height: int, width: int) -> None:
        """Raises ConfigError where the transforms cannot work on images of this size."""
        if self.transforms.imgfilter > 0:
            filtering.require_size(height, width)

    def draw(self, shape: torch.Size, p: float) -> Draws:
        """Draws for images of this shape [N, C, H, W], from torch's CPU generator."""
        n, channels, height, width = shape
        drawn_for = (self.transforms, self.ranges, n, p)
        return Draws(
            inverse=geometric.draw(*drawn_for, height, width),
            colours=color.draw(*drawn_for, color.num_colours(channels)),
            gains=filtering.draw(*drawn_for),
            sigma=corruption.draw_noise(*drawn_for),
            windows=corruption.draw_cutout(*drawn_for),
        )

    def _plan(self, draws: Draws, shape: torch.Size) -> list[Work]:
        """The stages that change any image, on the host. What was drawn and changes nothing chooses no image."""
        channels, height, width = shape[1:]
        k = color.num_colours(channels)
        stages: tuple[tuple[torch.Tensor | None, torch.Tensor, Callable[[torch.Tensor], Prepared], bool], ...] = (
            # drawn, neutral, function and its values, on colours only
            (draws.inverse, torch.eye(3), lambda inverse: _prepare_warp(inverse, height, width), False),
            (draws.colours, torch.eye(4), lambda maps: (color.apply, color.plan(maps, k)), True),
            (draws.gains, torch.ones(4), lambda gains: (filtering.apply, filtering.plan(gains)), True),
            (draws.sigma, torch.zeros([]), lambda sigma: (corruption.apply_noise, sigma), True),
            (draws.windows, torch.zeros(3), lambda windows: (corruption.apply_cutout, windows), False),
        )
        plan = []
        for drawn, neutral, prepare, colours_only in stages:
            if drawn is None:
                continue
            chosen = (drawn != neutral).reshape(len(drawn), -1).any(dim=1).nonzero()[:, 0]  # [M]
            if len(chosen):
                function, values = prepare(drawn[chosen])
                plan.append(Work(function, chosen, values, colours_only))
        return plan


def _prepare_warp(inverse: torch.Tensor, height: int, width: int) -> Prepared:
    margins, theta = geometric.plan(inverse, height, width)
    return functools.partial(geometric.apply, margins=margins), theta


def _send(plan: list[Work], img: torch.Tensor) -> list[Work]:
    """The plan with its tensors beside the images, by one copy that nobody waits for."""
    tensors = [tensor for work in plan for tensor in (work.chosen, work.values)]
    if not tensors:
        return []
    packed = torch.cat([tensor.to(img.dtype).flatten() for tensor in tensors]).to(img.device, non_blocking=True)
    parts = packed.split([tensor.numel() for tensor in tensors])
    sent = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    # float32 holds every index below 2^24.
    return [
        replace(work, chosen=chosen.long(), values=values)
        for work, chosen, values in zip(plan, sent[::2], sent[1::2], strict=True)
    ]


def _carry_out(work: Work, img: torch.Tensor) -> torch.Tensor:
    """The batch [N, C, H, W] with one stage applied to the chosen images."""
    all_of_them = len(work.chosen) == len(img)
    part = img if all_of_them else img.index_select(0, work.chosen)  # [M, C, H, W]
    k = color.num_colours(img.shape[1]) if work.colours_only else img.shape[1]
    changed = work.function(part[:, :k], work.values)
    if k < img.shape[1]:
        changed = torch.cat([changed, part[:, k:]], dim=1)
    return changed if all_of_them else img.index_copy(0, work.chosen, changed)
