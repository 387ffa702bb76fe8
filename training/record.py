"""The record of a run's config: what `config.json` and the header of every snapshot hold, and back."""

from __future__ import annotations

from typing import Any

from dnnlib import config as typed
from dnnlib.errors import ConfigError
from dnnlib.records import Record
from training import registry
from training.config import FIELDS, RunConfig
from training.data.labels import MAX_CLASSES, are_names
from training.data.shapes import MAX_BASE
from training.interface import ImageSpec
from training.objective.losses import LOSSES
from training.objective.term import TERMS

MAX_SIDE = 2**14  # pixels of an image
MAX_CHANNELS = 4096
MAX_LABEL_DIM = MAX_CLASSES


def to_record(cfg: RunConfig, spec: ImageSpec) -> dict[str, Any]:
    """Returns the config and the facts as JSON holds them; networks carry their `kind`, terms are like fields."""
    record = {name: typed.to_dict(getattr(cfg, name)) for name in FIELDS}
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        network = getattr(cfg, part)
        record[part] = {'kind': registry.architecture_of(reg, network).name, **typed.to_dict(network)}
    record |= {name: typed.to_dict(settings) for name, settings in cfg.terms.items()}
    return {'config': record, 'facts': typed.to_dict(spec)}


def from_record(record: dict[str, Any], where: str = "the run's record") -> tuple[RunConfig, ImageSpec]:
    """Returns config and facts of a record. The plug-ins that it names must be loaded, or loadable by name.

    Args:
        record: the record, as a file holds it: any values of JSON.
        where: name of the record in messages.

    Raises:
        ConfigError: if a name or a value in it is unknown, which may be that of a plug-in.
        RecordError: if it is damaged or implausible.
    """
    found = Record(record, where)
    try:
        return _from_record(found)
    except ConfigError as error:
        plugins = found.records('plugins') if 'plugins' in found else []  # 'plugin' has --cfg
        if found.record('config').text('cfg') not in registry.RECIPES.names() and 'plugin' in found:
            plugins.insert(0, found.record('plugin'))
        files = ', '.join(dict.fromkeys(plugin.text('file') or 'of a notebook' for plugin in plugins))
        hint = f'; the run had the plug-ins {files}: load them by --plugin=FILE' if files else ''
        raise ConfigError(f'{error}{hint}') from None


def _from_record(record: Record) -> tuple[RunConfig, ImageSpec]:
    entries = record.record('config')
    config = dict(entries.values)
    registry.RECIPES.get(entries.text('cfg'))  # imports the plug-in that registers the networks
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        network = entries.record(part)
        fields = {name: value for name, value in network.values.items() if name != 'kind'}
        config[part] = typed.from_dict(reg.get(network.text('kind')).config, fields, part)
    terms = {name: config.pop(name) for name in list(config) if name not in FIELDS}
    config['terms'] = {name: typed.from_dict(TERMS.get(name).config, terms[name], name) for name in terms}
    spec = typed.from_dict(ImageSpec, record.record('facts').values, 'facts')
    _check_facts(record.record('facts'), spec)
    return typed.from_dict(RunConfig, config), spec


def _check_facts(facts: Record, spec: ImageSpec) -> None:
    """Raises RecordError for facts that no data set has, before a network of their size is built."""
    facts.whole('resolution', 1, MAX_SIDE)
    facts.whole('channels', 1, MAX_CHANNELS)
    facts.whole('label_dim', 0, MAX_LABEL_DIM)
    facts.whole('num_images', 0)
    if spec.resolution & (spec.resolution - 1):
        facts.refuse('resolution', 'a power of two')
    if len(spec.base) != 2 or not all(1 <= side <= MAX_BASE for side in spec.base):
        facts.refuse('base', f'two numbers from 1 to {MAX_BASE}')
    if spec.bits not in (8, 16):
        facts.refuse('bits', '8 or 16')
    if max(spec.height, spec.width) > MAX_SIDE:
        facts.refuse('resolution', f'images of at most {MAX_SIDE} pixels on a side')


def class_names(record: dict[str, Any], label_dim: int) -> tuple[str, ...]:
    """Returns the names of the classes that a record holds; none if it does not name each of `label_dim` classes."""
    names = record.get('classes')
    return tuple(names) if are_names(names) and len(names) == label_dim else ()


def plugin_modules(cfg: RunConfig) -> list[str]:
    """Returns the modules outside `training` that registered the run's loss and terms, each once."""
    modules = [LOSSES.module_of(cfg.loss.kind)] + [TERMS.module_of(name) for name in cfg.terms]
    return [module for module in dict.fromkeys(modules) if not module.startswith('training.')]
