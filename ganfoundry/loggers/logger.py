"""Interface of a logger, and the lookup of loggers by name.

A name is one of `BUILTIN`, the name of an entry point in the group `ganfoundry.loggers`, or `module:Class`. All of them
lead to a class without arguments that satisfies `Logger`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dnnlib.errors import ConfigError
from dnnlib.registry import imported, suggest

GROUP = 'ganfoundry.loggers'  # entry points: NAME = module:Class


class Logger(Protocol):
    """Receiver of a run's records. Any exception that a method raises ends the process that sends.

    Numbers of images (`nimg`) do not decrease from `start` to `finish`, except for metrics of older snapshots that
    were measured later.
    """

    def start(self, record: Mapping[str, Any]) -> None:
        """Begins, or continues, what was sent of this run before.

        Args:
            record: The content of the run's config.json and, under 'log', a dict: `folder`, the path of the run
                folder; `name`, the name of the run; `id`, an id of run and segment; `group`, an id of the run;
                `segment`, which counts from 1; `mode`, 'online', 'offline' or None.
        """

    def scalars(self, values: Mapping[str, float], nimg: int) -> None:
        """Receives numbers by name, which may be NaN or infinite, after `nimg` images."""

    def image(self, name: str, path: Path, nimg: int) -> None:
        """Receives a PNG file, 'reals' or 'fakes', of the moment after `nimg` images."""

    def finish(self, state: str) -> None:
        """Ends. state: 'finished', 'stopped' (to be continued), 'failed', or 'rewound' (another segment follows)."""


class Builtin(NamedTuple):
    """A logger of this package: its class, and the package that it needs, with the command that installs it."""

    name: str
    package: str
    install: str


BUILTIN = {
    'wandb': Builtin('ganfoundry.loggers.to_wandb:WandbLogger', 'wandb', 'pip install wandb'),
    'mlflow': Builtin('ganfoundry.loggers.to_mlflow:MlflowLogger', 'mlflow', 'pip install mlflow-skinny'),
    'trackio': Builtin('ganfoundry.loggers.to_trackio:TrackioLogger', 'trackio', 'pip install trackio'),
    'tensorboard': Builtin(
        'ganfoundry.loggers.to_tensorboard:TensorBoardLogger', 'tensorboard', 'pip install "ganfoundry[log]"'
    ),
}


def check_logger(name: str, option: str) -> None:
    """Refuses a logger that does not exist or lacks its package, without importing anything.

    Args:
        name: Name of the logger.
        option: Name of the option that holds it, for messages.

    Raises:
        ConfigError: Names the option and the way out.
    """
    if name in BUILTIN:
        if not _is_installed(BUILTIN[name].package):
            raise ConfigError(
                f'{option}={name}: {BUILTIN[name].package} is not installed; {BUILTIN[name].install} installs it'
            )
    elif ':' in name:
        module, _, cls = name.partition(':')
        if not all(part.isidentifier() for part in [*module.split('.'), cls]):
            raise ConfigError(f'{option}={name}: expected module:Class, such as my_logger:MyLogger')
        if not _is_installed(module.partition('.')[0]):
            raise ConfigError(
                f'{option}={name}: there is no module {module} in this folder or among the installed packages'
            )
    elif name not in _entry_points():
        known = [*BUILTIN, *_entry_points()]
        raise ConfigError(f"{option}: unknown logger '{name}': {suggest(name, known)}, or module:Class")


def make_logger(name: str, option: str) -> Logger:
    """Imports a logger that `check_logger` accepts and returns an instance. Modules of this folder are found, too.

    Args:
        name: Name of the logger.
        option: Name of the option that holds it, for messages.

    Raises:
        ConfigError: If the module has no such class, or calls `sys.exit`.
        ImportError: If the module cannot be imported; the cause is its own error.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    where = BUILTIN[name].name if name in BUILTIN else _entry_points().get(name, name)
    module, _, cls = where.partition(':')
    with imported(f'{option}={name}'):
        try:
            found = getattr(importlib.import_module(module), cls, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f'{module}.'.startswith(f'{error.name}.'):
                raise  # the error of an import in the module
            raise ConfigError(f'{option}={name}: there is no module {error.name}') from None
        if not isinstance(found, type):
            raise ConfigError(f'{option}={name}: module {module} has no class {cls}')
        logger: Logger = found()
    missing = [method for method in ('start', 'scalars', 'image', 'finish') if not hasattr(logger, method)]
    if missing:
        raise ConfigError(
            f'{option}={name}: {cls} has no {missing[0]}(); a logger has start, scalars, image and finish'
        )
    return logger


def _entry_points() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def _is_installed(package: str) -> bool:
    """Whether a package or module can be imported; a folder without __init__.py, such as W&B's own, does not count."""
    if package in sys.modules or package in sys.builtin_module_names:
        return True
    spec = PathFinder.find_spec(package, [*sys.path, os.getcwd()])
    return spec is not None and spec.origin is not None
