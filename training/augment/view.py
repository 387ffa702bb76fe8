"""Augmentation of the images that D receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from training.augment.blur import blur, sigma_at
from training.augment.config import AugmentConfig
from training.augment.controller import Controller
from training.augment.diffaug import DiffAugment
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS


class Seen(NamedTuple):
    """Images as D receives them.

    images: [N, C, H, W].
    inverse: maps of the plane by which ADA has moved them, `geometric`'s G_inv, float64 [N, 3, 3] on the host; None if
        it has moved none. DiffAugment's moves are not among them.
    """

    images: torch.Tensor
    inverse: torch.Tensor | None


Augment = Callable[[torch.Tensor, float], Seen]  # [N, C, H, W] and p -> the same shape


class View:
    """The run's augmentation; draws come from torch's global generators, which the step seeds.

    Args:
        cfg: the augmentation's config.
        controller: controller of p if the augmentation adapts, else None.
        nimg: function that returns the number of real images shown so far, on which the blur depends.
    """

    def __init__(self, cfg: AugmentConfig, controller: Controller | None, nimg: Callable[[], int] = lambda: 0) -> None:
        self.cfg = cfg
        self.nimg = nimg
        self.controller = controller
        self.fixed_p = cfg.p  # strength of 'fixed', which the trainer sets from the run's schedule
        self._augment = _augment_of(cfg)

    @property
    def p(self) -> float:
        """Strength p: 0 without augmentation, 1 for an augmentation that is always on."""
        if self.controller is not None:
            return self.controller.p
        return {'fixed': self.fixed_p, 'diffaug': 1.0}.get(self.cfg.kind, 0.0)

    @property
    def at_cap(self) -> bool:
        """Whether p has reached its upper limit."""
        return self.controller is not None and self.controller.at_cap

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Returns the blurred and augmented images [N, C, H, W], or `img` itself without both or at p = 0."""
        return self.see(img).images

    def see(self, img: torch.Tensor) -> Seen:
        """Returns what `self(img)` returns, and how the images were moved."""
        if self.cfg.blur_sigma > 0:
            img = blur(img, sigma_at(self.nimg(), self.cfg.blur_sigma, self.cfg.blur_fade_kimg))
        return Seen(img, None) if self._augment is None or self.p == 0 else self._augment(img, self.p)


def _augment_of(cfg: AugmentConfig) -> Augment | None:
    if cfg.kind in ('ada', 'fixed'):
        pipe = AugmentPipe(PRESETS[cfg.pipe])
        return lambda img, p: Seen(*pipe.augment(img, p))
    if cfg.kind == 'diffaug':
        policy = DiffAugment(cfg.policy)
        return lambda img, p: Seen(policy(img), None)
    return None
