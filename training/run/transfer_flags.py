"""The flags of train.py for networks of the shapes in a file, for the error of a transfer of which nothing fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dnnlib.config import fields_of
from dnnlib.errors import UserError
from training.registry import RECIPES
from training.run.snapshot import load_snapshot

SHARED = {'channel_base': '--cbase', 'channel_max': '--cmax'}  # flags that set the field of both networks
# Fields on which no tensor's shape depends.
SHAPELESS = ('num_fp16_res', 'conv_clamp', 'w_avg_beta', 'map_lr_multiplier', 'mbstd_group', 'freezed')


def network_flags(path: Path) -> str | None:
    """Returns the flags for the networks of a snapshot or an official .pkl; None if the file does not record them."""
    try:
        cfg, spec = load_snapshot(path).config()
        recipe: Any = RECIPES.get(cfg.cfg).make(spec, 1)
    except (UserError, OSError):
        return None
    flags = [f'--cfg={cfg.cfg}']
    for field, flag in SHARED.items():
        values = {getattr(part, field, None) for part in (cfg.generator, cfg.discriminator)}
        if len(values) == 1 and None not in values:
            flags.append(f'{flag}={values.pop()}')
        else:
            parts = [
                part for part in ('generator', 'discriminator') if getattr(getattr(cfg, part), field, None) is not None
            ]
            flags += [_setting(part, field, getattr(cfg, part)) for part in parts]
    if hasattr(cfg.generator, 'map_depth'):
        flags.append(f'--map-depth={cfg.generator.map_depth}')
    for part in ('generator', 'discriminator'):
        network, usual = getattr(cfg, part), getattr(recipe, part)
        for field in fields_of(network):
            given = field in SHARED or field in SHAPELESS or (part, field) == ('generator', 'map_depth')
            if not given and getattr(network, field) != getattr(usual, field, None):
                flags.append(_setting(part, field, network))
    return ' '.join(flags)


def _setting(part: str, field: str, network: Any) -> str:
    """Returns the --set of a field."""
    value = getattr(network, field)
    text = ','.join(map(str, value)) if isinstance(value, tuple) else 'none' if value is None else str(value)
    return f'--set {part}.{field}={text}'
