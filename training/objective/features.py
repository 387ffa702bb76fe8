"""Features of G and D for terms that compare them: taps that record features, and a decoder of D's features.

Letters: N batch, C channels, R resolution of features, h and w their height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import FeatureNetwork
from training.networks.layers import Conv2d, LowerableBlock

Features = dict[int, torch.Tensor]  # by R: [N, C, h, w]


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidanceConfig:
    """Settings of a second task of D (GGDR, GLeaD), which needs networks that show their features.

    weight: 0 switches it off.
    resolution: resolution R of the features that D predicts; None takes the default of the task.
    """

    weight: float = 0.0
    resolution: int | None = None

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'weight', self.weight, 'must be non-negative')
        require(self.resolution is None or self.resolution >= 4, 'resolution', self.resolution, 'at least 4, or none')


class FeatureTap:
    """Records the features that a network computes while the tap is open."""

    def __init__(self, net: FeatureNetwork) -> None:
        self.blocks = net.feature_blocks()

    @contextmanager
    def open(self) -> Iterator[Features]:
        """The dict fills as the network runs."""
        features: Features = {}
        hooks = [block.register_forward_hook(_recorder(features, res)) for res, block in self.blocks.items()]
        try:
            yield features
        finally:
            for hook in hooks:
                hook.remove()


def _recorder(features: Features, res: int) -> Any:
    def record(module: torch.nn.Module, args: tuple, output: Any) -> None:
        features[res] = output[0] if isinstance(output, tuple) else output

    return record


class Decoder(LowerableBlock):
    """D's features from the base to R, up-sampled step by step beside its finer ones, to [N, out_channels, h, w].

    A reading: one 3x3 convolution a resolution on the concatenation, as wide as D is there, then a linear 1x1.
    """

    def __init__(self, channels: dict[int, int], resolution: int, out_channels: int) -> None:
        super().__init__(lowered=True)
        self.resolutions = sorted(res for res in channels if 4 < res <= resolution)
        below = channels[4]
        for res in self.resolutions:
            setattr(self, f'conv{res}', Conv2d(below + channels[res], channels[res], 3))
            below = channels[res]
        self.out = Conv2d(below, out_channels, 1, act='linear')

    def forward(self, features: Features) -> torch.Tensor:
        x = self.lower(features[4])
        for res in self.resolutions:
            x = F.interpolate(x, scale_factor=2, mode='nearest')
            x = getattr(self, f'conv{res}')(torch.cat([x, self.lower(features[res])], dim=1))
        return self.out(x).float()


def reading_resolution(name: str, cfg: GuidanceConfig, default: int, G: Any, D: Any) -> int:
    """Where the task reads; ConfigError unless both networks have features there."""
    for net, what in ((G, 'generator'), (D, 'discriminator')):
        if not isinstance(net, FeatureNetwork):
            raise ConfigError(f'{name}.weight={cfg.weight}: this {what} shows no features; --set {name}.weight=0')
    known = sorted(G.feature_blocks().keys() & D.feature_blocks().keys())
    resolution = cfg.resolution or default
    if resolution not in known:
        raise ConfigError(f'{name}.resolution={resolution}: features are at {", ".join(map(str, known))}')
    return resolution
