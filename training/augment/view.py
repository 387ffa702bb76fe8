"""What D is shown of an image: the image under the run's augmentation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from training.augment.config import AugmentConfig
from training.augment.controller import Controller
from training.augment.diffaug import DiffAugment
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS

Augment = Callable[[torch.Tensor, float], torch.Tensor]  # [N, C, H, W] and p -> the same shape


class View:
    """Shows images to D. Every draw comes from torch's global generators, which the step seeds."""

    def __init__(self, cfg: AugmentConfig, controller: Controller | None) -> None:
        """controller: moves p where the kind of augmentation adapts; else None."""
        self.cfg = cfg
        self.controller = controller
        self._augment = _augment_of(cfg)

    @property
    def p(self) -> float:
        """The strength: 0 without augmentation, 1 for one that is always on."""
        if self.controller is not None:
            return self.controller.p
        return {'fixed': self.cfg.p, 'diffaug': 1.0}.get(self.cfg.kind, 0.0)

    @property
    def at_cap(self) -> bool:
        """Whether p is held by its cap."""
        return self.controller is not None and self.controller.at_cap

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> same shape, differentiable twice. Without augmentation, and at p = 0, `img` itself."""
        return img if self._augment is None or self.p == 0 else self._augment(img, self.p)


def _augment_of(cfg: AugmentConfig) -> Augment | None:
    if cfg.kind in ('ada', 'fixed'):
        return AugmentPipe(PRESETS[cfg.pipe])
    if cfg.kind == 'diffaug':
        policy = DiffAugment(cfg.policy)
        return lambda img, p: policy(img)
    return None
