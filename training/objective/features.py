"""Features of G and D for terms that compare them: taps that record features, and a decoder of D's features.

A paper's decoder that is known here by its figure alone is read in the plainest way, which its class states.

Letters: N batch, C channels, R resolution of features, h and w their height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import FeatureNetwork, Features
from training.networks.layers import Conv2d, LowerableBlock
from training.objective.term import TermConfig

if TYPE_CHECKING:
    from training.config import RunConfig

TITLES = {'ggdr': 'GGDR', 'glead': 'GLeaD'}


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidanceConfig(TermConfig):
    """Settings of a second task of D (GGDR, GLeaD), which needs networks that show their features.

    weight: 0 switches it off.
    resolution: resolution R of the features that D predicts; None takes the default of the task.
    """

    weight: float = 0.0
    resolution: int | None = None

    def __post_init__(self) -> None:
        require(self.weight >= 0, 'weight', self.weight, 'must be non-negative')
        require(self.resolution is None or self.resolution >= 4, 'resolution', self.resolution, 'at least 4, or none')

    @property
    def active(self) -> bool:
        """Whether the weight is positive."""
        return self.weight > 0

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'{TITLES.get(name, name)} (weight {self.weight:g})'

    def check(self, name: str, cfg: RunConfig) -> None:
        """Refuses augmentations that move or hide places of the image, of which the task speaks."""
        require(
            cfg.aug.is_still,
            f'{name}.weight',
            self.weight,
            f'D then speaks of places in the image, which aug.kind={cfg.aug.kind} moves or hides; --set '
            'aug.kind=noaug, or let it change colors alone: aug.pipe=color (ada, fixed), aug.policy=color (diffaug)',
        )


class FeatureTap:
    """A recorder of the features that a network computes while the tap is open."""

    def __init__(self, net: FeatureNetwork) -> None:
        self.blocks = net.feature_blocks()

    @contextmanager
    def open(self) -> Iterator[Features]:
        """Yields a dict that fills as the network runs."""
        features: Features = {}
        hooks = [block.register_forward_hook(_recorder(features, res)) for res, block in self.blocks.items()]
        try:
            yield features
        finally:
            for hook in hooks:
                hook.remove()


def _recorder(features: Features, res: int) -> Callable[[torch.nn.Module, tuple[Any, ...], Any], None]:
    """Returns a forward hook that keeps a block's output, or the first part of it, as the features at `res`."""

    def record(module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        features[res] = output[0] if isinstance(output, tuple) else output

    return record


class Decoder(LowerableBlock):
    """A decoder of D's features from the base to R, upsampled step by step and joined by the finer ones.

    A reading: one 3x3 convolution per resolution on the concatenation, as wide as D is there, then a linear 1x1.
    """

    def __init__(self, channels: dict[int, int], resolution: int, out_channels: int) -> None:
        """Builds the layers.

        Args:
            channels: Number of channels of D's features by resolution.
            resolution: Resolution R of the output.
            out_channels: Number of channels of the output.
        """
        super().__init__(lowered=True)
        self.resolutions = sorted(res for res in channels if 4 < res <= resolution)
        below = channels[4]
        for res in self.resolutions:
            setattr(self, f'conv{res}', Conv2d(below + channels[res], channels[res], 3))
            below = channels[res]
        self.out = Conv2d(below, out_channels, 1, act='linear')

    def forward(self, features: Features) -> torch.Tensor:
        """Returns [N, out_channels, h, w] of D's features by resolution."""
        x = self.lower(features[4])  # [N, C, *spec.size_at(4)]
        for res in self.resolutions:
            x = F.interpolate(x, scale_factor=2, mode='nearest')
            x = getattr(self, f'conv{res}')(torch.cat([x, self.lower(features[res])], dim=1))
        y: torch.Tensor = self.out(x)
        return y.float()


def check_features(name: str, G: object, D: object) -> None:
    """Raises ConfigError unless both networks show their features.

    Args:
        name: Name of the term that needs them, for the message.
        G: Generator.
        D: Discriminator.
    """
    for net, role in ((G, 'generator'), (D, 'discriminator')):
        if not isinstance(net, FeatureNetwork):
            raise ConfigError(f'{name}: this {role} shows no features, which the term needs; --set {name}.weight=0')


def reading_resolution(name: str, cfg: GuidanceConfig, default: int, G: FeatureNetwork, D: FeatureNetwork) -> int:
    """Returns the resolution at which a task reads features.

    Args:
        name: Name of the term, for the message.
        cfg: Settings of the task.
        default: Resolution if the settings name none.
        G: Generator.
        D: Discriminator.

    Raises:
        ConfigError: If one of the networks has no features there.
    """
    known = sorted(G.feature_blocks().keys() & D.feature_blocks().keys())
    resolution = cfg.resolution or default
    if resolution not in known:
        raise ConfigError(f'{name}.resolution={resolution}: features are at {", ".join(map(str, known))}')
    return resolution
