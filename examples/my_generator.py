"""A generator as a plug-in: a network of fully connected layers, in one file outside the project.

    python train.py --plugin=my_generator.py --cfg=mine --data=images.zip
    python train.py --plugin=my_generator.py --cfg=mine --set generator.width=512 -n
    python generate.py --plugin=my_generator.py --network=runs/00000-images-mine --seeds=0-15

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

import ganfoundry as gf


@dataclass(frozen=True, kw_only=True, slots=True)
class MyGeneratorConfig:
    """Options of the generator: each is a field of `--set generator.NAME=VALUE` and of config.json."""

    z_dim: int = 64
    width: int = 256  # units of a hidden layer
    depth: int = 3  # number of hidden layers


@gf.register_generator('mine', config=MyGeneratorConfig)
class MyGenerator(torch.nn.Module):
    """Maps a latent to all pixels of an image."""

    def __init__(self, config: MyGeneratorConfig, spec: gf.ImageSpec) -> None:
        """spec: the facts of the data set, such as height, width, channels and label_dim."""
        super().__init__()
        # Every generator has these four attributes.
        self.z_dim, self.c_dim = config.z_dim, spec.label_dim
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.shape = (spec.channels, spec.height, spec.width)
        layers: list[torch.nn.Module] = []
        features = config.z_dim + spec.label_dim
        for _ in range(config.depth):
            layers += [torch.nn.Linear(features, config.width), torch.nn.LeakyReLU(0.2)]
            features = config.width
        self.body = torch.nn.Sequential(*layers, torch.nn.Linear(features, spec.channels * spec.pixels))

    def forward(
        self,
        z: torch.Tensor,  # [N, z_dim]
        c: torch.Tensor,  # [N, c_dim], c_dim may be 0
        *,
        truncation_psi: float = 1,
        noise_mode: str = 'random',  # this network has no noise
    ) -> torch.Tensor:
        """Returns images, float32 [N, C, H, W], nominally in [-1, 1]."""
        x = torch.cat([z * truncation_psi, c], dim=1)  # [N, z_dim + c_dim]
        return self.body(x).reshape(-1, *self.shape)  # [N, C, H, W]


@gf.register_recipe('mine', paper='none: an example')
def mine(facts: gf.ImageSpec, num_gpus: int) -> Any:
    """Returns the whole config of a run: that of `--cfg=auto` with this generator and without what needs a W space."""
    cfg = gf.recipes.auto(facts, num_gpus)
    return replace(
        cfg,
        cfg='mine',
        generator=MyGeneratorConfig(),
        pl=replace(cfg.pl, weight=0, interval=None),  # path length regularization
        style_mixing_prob=0,
    )
