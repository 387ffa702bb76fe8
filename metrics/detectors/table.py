"""Table of the detectors: the feature networks that names of metrics can refer to.

A detector joins the table in one of three ways: a row below, `@register_detector` in a `--plugin` file, or no code at
all (`--detector-path=NAME=FILE,size=224`, see `metrics.detectors.custom`). This module imports no PyTorch.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from dnnlib.errors import ConfigError
from dnnlib.registry import suggest
from metrics.detectors.interface import Detector, DetectorClass

if TYPE_CHECKING:
    import torch

C = TypeVar('C', bound=type)


class Entry(NamedTuple):
    """A row of the table: all that is known of a detector without building it, so that names are checked offline."""

    target: str | DetectorClass  # the class, or 'module:class', which is imported when the detector is used
    weights: str  # key of --detector-path, '' without one
    feature_dim: int  # width of the features; 0 if only the user's file determines it
    num_classes: int

    def load(self) -> DetectorClass:
        """Returns the class of the detector."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(':')
        return cast('DetectorClass', getattr(importlib.import_module(module), attribute))

    @property
    def module(self) -> str:
        """The module that defines the class."""
        return self.target.partition(':')[0] if isinstance(self.target, str) else str(self.target.__module__)


DETECTORS = {
    'efflite': Entry('metrics.detectors.efficientnet:EffLite', '', 1280, 1000),
    'inception': Entry('metrics.detectors.inception_detector:InceptionDetector', 'inception', 2048, 1008),
    'vgg16': Entry('metrics.detectors.vgg:Vgg16Detector', 'vgg16', 4096, 0),
    'vgg16conv': Entry('metrics.detectors.vgg:Vgg16ConvDetector', 'lpips', 512, 0),
    'dinov2': Entry('metrics.detectors.dinov2:DinoV2Large', 'dinov2', 1024, 0),
    'dinov2b': Entry('metrics.detectors.dinov2:DinoV2Base', 'dinov2b', 768, 0),
    'dinov2s': Entry('metrics.detectors.dinov2:DinoV2Small', 'dinov2s', 384, 0),
}
_declared: set[str] = set()  # names that --detector-path has added; only these can be declared again

OF_TERMS = {'lpips_alex'}  # weights that loss terms read, and no detector


def register_detector(name: str, *, feature_dim: int, num_classes: int = 0, weights: str = '') -> Callable[[C], C]:
    """Adds a detector to the table; a class decorator for plug-in files.

    The class follows `metrics.detectors.interface.DetectorClass`; the decorator sets its attributes `name`,
    `feature_dim` and `num_classes`. Deriving from `metrics.detectors.network_detector.NetworkDetector` leaves only the
    network, the preparation of images and the source of the weights to write.

    Args:
        name: Lower-case letters and digits, beginning with a letter: `fd_NAME50k_full`.
        feature_dim: Width of the features.
        num_classes: Number of classes, 0 without a classifier.
        weights: Key of `--detector-path` for the file with the weights, '' without one.

    Raises:
        ConfigError: The name is malformed or belongs to a detector of another module.
    """
    if not re.fullmatch(r'[a-z][a-z0-9]*', name):
        raise ConfigError(f'the detector {name!r}: a name is lower-case letters and digits and begins with a letter')

    def register(cls: C) -> C:
        if name in DETECTORS and (owner := DETECTORS[name].module) != cls.__module__:
            raise ConfigError(
                f"the detector '{name}' is registered twice: by {owner} and by {cls.__module__}; rename one"
            )
        for attribute, value in (('name', name), ('feature_dim', feature_dim), ('num_classes', num_classes)):
            setattr(cls, attribute, value)
        DETECTORS[name] = Entry(cast('DetectorClass', cls), weights, feature_dim, num_classes)
        return cls

    return register


def set_path(option: str) -> None:
    """Applies one value of `--detector-path`, before any detector is built.

    `NAME=FILE` names the file (for DINOv2 the folder) with the weights NAME: a key of the column `weights` above, or
    `lpips`, which vgg16conv and PPL read, or `lpips_alex`, which GLeaD reads. `NAME=FILE,size=224,...` with a new NAME
    makes a detector of any TorchScript or ONNX file; `metrics.detectors.custom` lists the options. Raises ConfigError
    for anything else.
    """
    name, separator, rest = option.partition('=')
    if not separator or not rest:
        raise ConfigError(f'--detector-path={option}: expected NAME=FILE, as in inception=FILE.pth')
    if name in (weights := {entry.weights for entry in DETECTORS.values()} - {''} | OF_TERMS):
        from metrics.detectors.weights import set_weights_path

        set_weights_path(name, rest)
    elif name in DETECTORS and name not in _declared:
        reads = DETECTORS[name].weights
        instead = f'the weights are {reads}: --detector-path={reads}=FILE' if reads else 'its package carries them'
        raise ConfigError(f'--detector-path={option}: {name} has no file of its own, {instead}')
    elif ',size=' in rest:
        from metrics.detectors.custom import declare

        DETECTORS[name] = Entry(declare(name, rest), '', 0, 0)
        _declared.add(name)
    else:
        known = suggest(name, weights)
        raise ConfigError(
            f'--detector-path={option}: there are no weights of {name!r}, {known}; a network of your own needs its '
            f'input declared, at least --detector-path={name}=FILE,size=224'
        )


def set_paths(options: Sequence[str]) -> None:
    """Applies all values of `--detector-path`. Raises ConfigError for a name that occurs twice, and as `set_path`."""
    names = [option.partition('=')[0] for option in options]
    for name in names:
        if names.count(name) > 1:
            given = ' '.join(f'--detector-path={option}' for option in options if option.startswith(f'{name}='))
            raise ConfigError(f'{given}: names {name} twice; give one of them')
    for option in options:
        set_path(option)


def available(name: str) -> bool:
    """Returns whether a detector can be built without a download, so that a metric with it can be a default."""
    return _entry(name).load().available()


def get_detector(name: str, device: torch.device | str = 'cpu') -> Detector:
    """Builds a detector on a device. Raises ConfigError for an unknown name and UserError without its weights."""
    return _entry(name).load()(device)


def provenance(detector: Detector) -> dict[str, str]:
    """Returns the fields of a number's record that describe its detector; `edition` is the file of the weights."""
    edition = getattr(detector, 'edition', '')
    fields = {'detector': detector.name, 'digest': detector.digest, 'preprocessing': detector.preprocessing}
    return fields | ({'edition': edition} if edition else {})


def _entry(name: str) -> Entry:
    if name not in DETECTORS:
        raise ConfigError(f'unknown detector {name!r}; {suggest(name, DETECTORS)}')
    return DETECTORS[name]
