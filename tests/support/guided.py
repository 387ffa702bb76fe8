"""Runs with GGDR and GLeaD for tests: small networks that show their features."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from training.augment.config import AugmentConfig
from training.augment.view import Seen, View
from training.build import build
from training.config import EmaConfig, GuidanceConfig, RunConfig
from training.data.dataset import ImageDataset
from training.fakes import Fakes
from training.interface import ImageSpec
from training.objective.term import Summand
from training.passes import Passes
from training.registry import RECIPES
from training.state import TrainState
from training.terms import DiscriminatorTerms

CPU = torch.device('cpu')
ON = GuidanceConfig(weight=10)


def small(dataset: ImageDataset, name: str = 'auto', **changes: Any) -> RunConfig:
    """Returns a run of 32x32 images without augmentation."""
    cfg = RECIPES.get(name).make(dataset.spec, 1)
    widths = {'channel_base': 256, 'channel_max': 16}
    return dataclasses.replace(
        cfg,
        generator=dataclasses.replace(cfg.generator, z_dim=8, w_dim=12, map_depth=1, **widths),
        discriminator=dataclasses.replace(cfg.discriminator, mbstd_group=2, **widths),
        batch=4, batch_gpu=2, ema=EmaConfig(kimg=0), aug=AugmentConfig(), **changes,
    )  # fmt: skip


class Scorer:
    """D's main phase by hand: generates two images, and returns what each term adds for images."""

    def __init__(self, cfg: RunConfig, spec: ImageSpec, dataset: ImageDataset) -> None:
        self.state: TrainState = build(cfg, spec, CPU)
        self.state.D.requires_grad_(True)
        fakes = Fakes(cfg, self.state, dataset, CPU)
        self.losses = DiscriminatorTerms(cfg, self.state, fakes, View(cfg.aug, None), Passes(self.state, fakes))

    def generated(self) -> tuple[torch.Tensor, dict[str, Summand]]:
        """Returns two generated images and the summand of each term for them."""
        with torch.no_grad(), self.losses._tapped('G') as features:
            img = self.losses.fakes.generate(torch.randn(2, 8), torch.zeros(2, 0))
        return img, self.summands(img, img, features)

    def summands(
        self,
        img: torch.Tensor,
        seen: torch.Tensor,
        features: dict[int, torch.Tensor] | None,
        inverse: torch.Tensor | None = None,
    ) -> dict[str, Summand]:
        """Returns the summand of each term for images.

        Args:
            img: Images, [2, C, H, W].
            seen: The same as D sees them, [2, C, H, W].
            features: G's features if the images are generated; None for real ones.
            inverse: How ADA has moved the images.
        """
        found = {}
        for term in self.losses.scoring:
            hook = term.on_logits

            def record(scored, name=term.name, hook=hook):  # type: ignore[no-untyped-def]
                found[name] = summand = hook(scored)
                return summand

            term.on_logits = record  # type: ignore[method-assign]
        try:
            self.logits, _ = self.losses._score(img, Seen(seen, inverse), torch.zeros(2, 0), features)
        finally:
            for term in self.losses.scoring:
                del term.on_logits
        return {name: summand for name, summand in found.items() if summand is not None}
