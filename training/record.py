"""The record of a run's config: what `config.json` and the header of every snapshot hold, and back."""

from __future__ import annotations

from typing import Any

from dnnlib import config as typed
from training import registry
from training.config import RunConfig
from training.interface import ImageSpec


def to_record(cfg: RunConfig, spec: ImageSpec) -> dict[str, Any]:
    """Returns the config and the facts as JSON holds them; networks carry their `kind`."""
    record = typed.to_dict(cfg)
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        network = getattr(cfg, part)
        record[part] = {'kind': registry.architecture_of(reg, network).name, **typed.to_dict(network)}
    return {'config': record, 'facts': typed.to_dict(spec)}


def from_record(record: dict[str, Any]) -> tuple[RunConfig, ImageSpec]:
    """Returns config and facts of a record. The plug-ins that it names must be loaded, or loadable by name."""
    config = dict(record['config'])
    registry.RECIPES.get(config['cfg'])  # imports the plug-in that registers the networks
    for part, reg in (('generator', registry.GENERATORS), ('discriminator', registry.DISCRIMINATORS)):
        fields = dict(config[part])
        config[part] = typed.from_dict(reg.get(fields.pop('kind')).config, fields, part)
    return typed.from_dict(RunConfig, config), typed.from_dict(ImageSpec, record['facts'], 'facts')
