"""Features of G and D for terms that compare them: taps that record features, and a decoder of D's features.

Letters: N batch, C channels, R resolution of features, h and w their height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import FeatureNetwork, Features
from training.networks.layers import Act, Conv2d, LowerableBlock
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
        """Refuses augmentations that move or hide places of the image, of which the task speaks; GGDR follows ADA's."""
        require(
            cfg.aug.is_still or (name == 'ggdr' and cfg.aug.kind in ('ada', 'fixed')),
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
    """The decoder of D's features that GGDR and GLeaD share: from 4x4 to R, upsampled step by step.

    For r = 8, 16, ..., R, a 1x1 convolution upsamples by two, with StyleGAN2's filter, the previous result joined with
    D's features at r / 2. Results are as wide as D's features at r; the last one has `out_channels`.
    """

    def __init__(self, channels: dict[int, int], resolution: int, out_channels: int, *, act: Act) -> None:
        """Builds the layers.

        Args:
            channels: Number of channels of D's features by resolution.
            resolution: Resolution R of the output.
            out_channels: Number of channels of the output.
            act: Activation of all layers but the last, which is linear.

        Raises:
            ConfigError: If R is below 8.
        """
        super().__init__(lowered=True)
        self.resolutions = sorted(2 * res for res in channels if 2 * res <= resolution)
        if not self.resolutions:
            raise ConfigError(f"resolution={resolution}: the decoder of D's features begins at 8")
        below = 0
        for res in self.resolutions:
            is_last = res == self.resolutions[-1]
            width = out_channels if is_last else channels[res]
            conv = Conv2d(below + channels[res // 2], width, 1, act='linear' if is_last else act, up=2)
            setattr(self, f'conv{res}', conv)
            below = width

    def forward(self, features: Features) -> torch.Tensor:
        """Returns [N, out_channels, h, w] float32 of D's features by resolution."""
        x = None
        for res in self.resolutions:
            f = self.lower(features[res // 2])  # [N, C, *spec.size_at(res // 2)]
            x = getattr(self, f'conv{res}')(f if x is None else torch.cat([x, f], dim=1))
        assert x is not None
        return x.float()


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
