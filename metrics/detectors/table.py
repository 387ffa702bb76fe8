"""What a feature network must offer to be measured with, and which networks there are.

Letters: N batch, C image channels, H and W image height and width, D feature width, K classes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dnnlib.errors import ConfigError

if TYPE_CHECKING:
    import torch


class Entry(NamedTuple):
    """A detector as far as it is known without its weights, so that metric names can be checked offline.

    target: 'module:class', imported only when asked for. The class takes the device as its one argument; its
    `available()` says whether the weights can be had without the network. weights: the key of `--detector-path`; ''
    where there is none. feature_dim, num_classes: as in `Detector`; 0 where only the user's network can tell.
    """

    target: str
    weights: str
    feature_dim: int
    num_classes: int


DETECTORS = {
    'efflite': Entry('metrics.detectors.efficientnet:EffLite', '', 1280, 1000),
    'inception': Entry('metrics.detectors.inception_detector:Inception', 'inception', 2048, 1008),
    'vgg16': Entry('metrics.detectors.vgg:Vgg16Detector', 'vgg16', 4096, 0),
    'vgg16conv': Entry('metrics.detectors.vgg:Vgg16ConvDetector', 'lpips', 512, 0),
    'dinov2': Entry('metrics.detectors.dinov2:DinoV2Large', 'dinov2', 1024, 0),
    'dinov2b': Entry('metrics.detectors.dinov2:DinoV2Base', 'dinov2b', 768, 0),
    'dinov2s': Entry('metrics.detectors.dinov2:DinoV2Small', 'dinov2s', 384, 0),
}
_BUILT_IN = frozenset(DETECTORS)


class Features(NamedTuple):
    """What a detector makes of a batch of images."""

    pooled: torch.Tensor  # [N, D] float32
    probabilities: torch.Tensor | None  # [N, K] float32, rows sum to 1; None without a classifier


class Detector(Protocol):
    """A feature network with everything that decides its numbers: weights and the way images get to it.

    name: a key of `DETECTORS`, part of every metric's name. digest: sha256 of the weights. preprocessing: resizing,
    range and version in words; a change of either is a change of both detector and numbers. num_classes: 0 without
    a classifier. A call is deterministic, sees images of any size and number of channels as
    `metrics.streams.images.to_rgb` does, and leaves them as they are.
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


def set_path(option: str) -> None:
    """Takes one value of `--detector-path`, before any detector is built.

    `NAME=FILE` names the file, for DINOv2 the folder, that the weights NAME come from: a key in the table above, or
    `lpips`, which vgg16conv and PPL read. `NAME=FILE,size=224,...` with a new NAME makes a detector of any TorchScript
    or ONNX file; `metrics.detectors.custom` lists what may follow. ConfigError for what is neither.
    """
    name, separator, rest = option.partition('=')
    if not separator or not rest:
        raise ConfigError(f'--detector-path={option}: expected NAME=FILE, as in inception=FILE.pth')
    if name in (weights := {entry.weights for entry in DETECTORS.values()} - {''}):
        importlib.import_module('metrics.detectors.weights').set_path(name, rest)
    elif name in _BUILT_IN:
        reads = DETECTORS[name].weights
        instead = f'the weights are {reads}: --detector-path={reads}=FILE' if reads else 'its package carries them'
        raise ConfigError(f'--detector-path={option}: {name} has no file of its own, {instead}')
    elif ',size=' in rest:
        importlib.import_module('metrics.detectors.custom').declare(name, rest)
        DETECTORS[name] = Entry('metrics.detectors.custom:CustomDetector', '', 0, 0)
    else:
        known = ', '.join(sorted(weights))
        raise ConfigError(
            f'--detector-path={option}: there are weights of {known}; a network of your own needs its input declared, '
            f'at least --detector-path={name}=FILE,size=224'
        )


def available(name: str) -> bool:
    """Whether a detector can be had without the network, so that a metric with it can be a default."""
    return _detector_class(name).available()


def get_detector(name: str, device: torch.device | str = 'cpu') -> Detector:
    """Builds a detector on a device. ConfigError for an unknown name, UserError where its weights are absent."""
    return _detector_class(name)(device)


def provenance(detector: Detector) -> dict[str, str]:
    """What a record of a number says of its detector; `edition` is the file that the weights came in."""
    edition = getattr(detector, 'edition', '')
    fields = {'detector': detector.name, 'digest': detector.digest, 'preprocessing': detector.preprocessing}
    return fields | ({'edition': edition} if edition else {})


def _detector_class(name: str) -> Any:
    if name not in DETECTORS:
        raise ConfigError(f'unknown detector {name!r}; there are {", ".join(DETECTORS)}')
    module, _, attribute = DETECTORS[name].target.partition(':')
    found = getattr(importlib.import_module(module), attribute)
    return found if name in _BUILT_IN else found.of(name)
