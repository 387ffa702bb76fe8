"""What a feature network must offer to be measured with, and which networks there are.

Letters: N batch, C image channels, H and W image height and width, D feature width, K classes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dnnlib.errors import ConfigError

if TYPE_CHECKING:
    import torch

# name: 'module:class', imported and built only when asked for. The class takes the device as its one
# argument; its `available()` says whether the weights are on this machine.
DETECTORS = {
    'efflite': 'metrics.efficientnet:EffLite',
}


class Features(NamedTuple):
    """What a detector makes of a batch of images."""

    pooled: torch.Tensor  # [N, D] float32
    probabilities: torch.Tensor | None  # [N, K] float32, rows sum to 1; None without a classifier


class Detector(Protocol):
    """A feature network with everything that decides its numbers: weights and the way images get to it.

    name: a key of `DETECTORS`, part of every metric's name. digest: sha256 of the weights. preprocessing: resizing,
    range and version in words; a change of either is a change of both detector and numbers. num_classes: 0 without
    a classifier. A call is deterministic, sees images of any size and number of channels as `metrics.images.to_rgb`
    does, and leaves them as they are.
    """

    name: str
    digest: str
    preprocessing: str
    feature_dim: int
    num_classes: int

    def __call__(
        self,
        images: torch.Tensor,  # [N, C, H, W] uint8
    ) -> Features: ...


def available(name: str) -> bool:
    """Whether a detector's weights are on this machine, so that a metric with it can be a default."""
    return _detector_class(name).available()


def get_detector(name: str, device: torch.device | str = 'cpu') -> Detector:
    """Builds a detector on a device. ConfigError for an unknown name, UserError where its weights are absent."""
    return _detector_class(name)(device)


def _detector_class(name: str) -> Any:
    if name not in DETECTORS:
        raise ConfigError(f'unknown detector {name!r}; there are {", ".join(DETECTORS)}')
    module, _, attribute = DETECTORS[name].partition(':')
    return getattr(importlib.import_module(module), attribute)
