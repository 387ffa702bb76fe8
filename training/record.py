"""The record of a run's config: what `config.json` and the header of every snapshot hold, and back."""

from __future__ import annotations

from typing import Any

from dnnlib import config as typed
from dnnlib.errors import ConfigError
from training import registry
from training.config import FIELDS, RunConfig
from training.data.labels import are_names
from training.interface import ImageSpec
from training.objective.losses import LOSSES
from training.objective.term import TERMS


def to_record(cfg: RunConfig, spec: ImageSpec) -> dict[str, Any]:
    """Returns the config and the facts as JSON holds them; networks carry their `kind`, terms are like fields."""
    record = {name: typed.to_dict(getattr(cfg, name)) for name in FIELDS}
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        network = getattr(cfg, part)
        record[part] = {'kind': registry.architecture_of(reg, network).name, **typed.to_dict(network)}
    record |= {name: typed.to_dict(settings) for name, settings in cfg.terms.items()}
    return {'config': record, 'facts': typed.to_dict(spec)}


def from_record(record: dict[str, Any]) -> tuple[RunConfig, ImageSpec]:
    """Returns config and facts of a record. The plug-ins that it names must be loaded, or loadable by name."""
    try:
        return _from_record(record)
    except ConfigError as error:
        plugins = list(record.get('plugins', ()))  # those of loss and terms; 'plugin' is the module of --cfg
        if record['config']['cfg'] not in registry.RECIPES.names() and 'plugin' in record:
            plugins.insert(0, record['plugin'])
        files = ', '.join(dict.fromkeys(plugin['file'] for plugin in plugins))
        hint = f'; the run had the plug-ins {files}: load them by --plugin=FILE' if files else ''
        raise ConfigError(f'{error}{hint}') from None


def _from_record(record: dict[str, Any]) -> tuple[RunConfig, ImageSpec]:
    config = dict(record['config'])
    registry.RECIPES.get(config['cfg'])  # imports the plug-in that registers the networks
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        fields = dict(config[part])
        config[part] = typed.from_dict(reg.get(fields.pop('kind')).config, fields, part)
    terms = {name: config.pop(name) for name in list(config) if name not in FIELDS}
    config['terms'] = {name: typed.from_dict(TERMS.get(name).config, terms[name], name) for name in terms}
    return typed.from_dict(RunConfig, config), typed.from_dict(ImageSpec, record['facts'], 'facts')


def class_names(record: dict[str, Any], label_dim: int) -> tuple[str, ...]:
    """Returns the names of the classes that a record holds; none if it does not name each of `label_dim` classes."""
    names = record.get('classes')
    return tuple(names) if are_names(names) and len(names) == label_dim else ()


def plugin_modules(cfg: RunConfig) -> list[str]:
    """Returns the modules outside `training` that registered the run's loss and terms, each once."""
    modules = [LOSSES.module_of(cfg.loss.kind)] + [TERMS.module_of(name) for name in cfg.terms]
    return [module for module in dict.fromkeys(modules) if not module.startswith('training.')]
