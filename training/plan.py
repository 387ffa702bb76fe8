"""The plan of a run in text (`--dry-run`), and the table of all recipes (`--cfg=list`)."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import Any

import torch

from dnnlib.config import choices_of
from dnnlib.errors import ConfigError
from dnnlib.log import format_bytes
from torch_utils.images import grid_shape
from torch_utils.macs import count_macs, format_macs
from torch_utils.summary import count, module_table
from training.augment.config import AugmentConfig
from training.build import build_networks
from training.config import RunConfig
from training.interface import ImageSpec
from training.record import to_record
from training.registry import RECIPES


def describe_run(cfg: RunConfig, spec: ImageSpec, run_name: str) -> str:
    """Returns config, networks module by module, data, schedule and disk; builds nothing except shapes.

    Args:
        cfg: Config of the run.
        spec: Facts of the data set.
        run_name: Path of the run folder.
    """
    with torch.device('meta'):
        G, D = build_networks(cfg, spec)
    return '\n\n'.join(
        [
            'Config\n' + json.dumps(to_record(cfg, spec)['config'], indent=2),
            module_table(G, 'Generator'),
            module_table(D, 'Discriminator'),
            _describe_work(spec, G, D),
            _describe_data(cfg, spec),
            _describe_schedule(cfg),
            _describe_disk(cfg, spec, G, D),
            f'Run folder: {run_name}\nDry run: nothing was written.',
        ]
    )


def _describe_work(spec: ImageSpec, G: torch.nn.Module, D: torch.nn.Module) -> str:
    g_macs, d_macs = (format_macs(macs) for macs in _macs(spec, G, D))
    return f'Forward of one image: G {g_macs} multiply-adds, D {d_macs}'


def _describe_data(cfg: RunConfig, spec: ImageSpec) -> str:
    labels = f'labels of width {spec.label_dim}' if spec.label_dim else 'no labels'
    flips = ', x-flips included' if cfg.data.mirror else ''
    return (
        f'Images: {spec.num_images:,} of {spec.width}x{spec.height}{_describe_base(spec)}, '
        f'{spec.channels} channels of {spec.bits} bits, '
        f'{labels}{flips}\n  from {cfg.data.path or "the embedded set, peeps64.zip"}; '
        f'{cfg.kimg * 1000 / spec.num_images:.1f} epochs in all'
    )


def _describe_base(spec: ImageSpec) -> str:
    """Returns the base of the networks unless it is 4x4: a large base doubled seldom makes shallow networks."""
    if tuple(spec.base) == (4, 4):
        return ''
    return f' (base {spec.base[1]}x{spec.base[0]}, doublings {spec.resolution.bit_length() - 3})'


def _describe_schedule(cfg: RunConfig) -> str:
    steps = -(-cfg.kimg * 1000 // cfg.batch)
    snapshots = int(cfg.kimg / cfg.tick / cfg.snap) + 1
    return (
        f'Schedule: {cfg.kimg} kimg = {steps:,} steps of {cfg.batch} images '
        f'({cfg.gpus} process(es) x {cfg.num_micro} micro-batch(es) x {cfg.batch_gpu})\n'
        f'  one tick per {cfg.tick:g} kimg, one snapshot per {cfg.tick * cfg.snap:g} kimg ({snapshots} in all), '
        f'metrics {", ".join(cfg.metrics) or "none"}\n'
        f'  loss {cfg.loss.kind}, {cfg.n_critic} steps of D for one of G, precision {cfg.precision}; {_penalties(cfg)}'
        f'\n  augmentation: {_augmentation(cfg.aug)}'
    )


def _augmentation(aug: AugmentConfig) -> str:
    """Returns the words for the augmentation of D's images and its strength."""
    moves = (
        f'p from {aug.p:g} towards a mean sign of D of {aug.target:g}, by 1 in {aug.kimg:g} kimg, at most {aug.p_max:g}'
    )
    return {
        'noaug': 'none',
        'ada': f'ADA, {aug.pipe}, {moves}',
        'fixed': f'{aug.pipe} at p {aug.p:g}',
        'diffaug': f'DiffAugment, {aug.policy}',
        'apa': f'pseudo-real images (APA), {moves}',
    }[aug.kind]


def _penalties(cfg: RunConfig) -> str:
    """Returns the active terms, each with its weight and interval."""
    parts = [settings.describe(name, cfg) for name, settings in cfg.all_terms().items() if settings.active]
    return ', '.join(parts) or 'no regularizer'


def _describe_disk(cfg: RunConfig, spec: ImageSpec, G: torch.nn.Module, D: torch.nn.Module) -> str:
    (g_params, g_buffers), (d_params, d_buffers) = count(G), count(D)
    snapshot = 4 * (g_params + g_buffers + d_params + d_buffers)
    state = snapshot + 4 * (g_params + g_buffers) + 4 * 2 * (g_params + d_params)
    snapshots = int(cfg.kimg / cfg.tick / cfg.snap) + 1
    columns, rows = grid_shape(spec.height, spec.width, cfg.grid_images)
    sheet = columns * rows * spec.pixels * min(spec.channels, 4)
    total = snapshots * (snapshot + sheet) + (cfg.keep + 2) * state
    return (
        f'Disk: about {format_bytes(total)} = {snapshots} snapshots of {format_bytes(snapshot)}, {cfg.keep} + 1 states '
        f'of {format_bytes(state)} (and one while it is written), sheets of at most {format_bytes(sheet)}'
    )


def describe_recipes(spec: ImageSpec) -> str:
    """Returns every `--cfg` with paper, parameters and multiply-adds at this data set's size, and options of G."""
    RECIPES.load_all()
    entries = []
    for name in RECIPES.names():
        recipe = RECIPES.get(name)
        lines = [name, f'  {recipe.paper}', f'  {_size(name, spec)}']
        cfg = recipe.make(spec, 1) if spec.resolution >= recipe.min_resolution else None
        if cfg is not None:
            options = ', '.join(_options(cfg.generator))
            lines += textwrap.wrap(f'--set generator.{{{options}}}', 116, initial_indent='  ', subsequent_indent='    ')
        entries.append('\n'.join(lines))
    return '\n\n'.join(entries)


def _size(name: str, spec: ImageSpec) -> str:
    try:
        with torch.device('meta'):
            G, D = build_networks(RECIPES.get(name).make(spec, 1), spec)
    except ConfigError as error:
        return str(error)
    g_macs, d_macs = (format_macs(macs) for macs in _macs(spec, G, D))
    return (
        f'at {spec.width}x{spec.height}: G {count(G)[0]:,} parameters, {g_macs} multiply-adds; '
        f'D {count(D)[0]:,}, {d_macs}'
    )


def _macs(spec: ImageSpec, G: Any, D: torch.nn.Module) -> tuple[int, int]:
    """Returns the multiply-adds of G's and D's forward pass of one image."""
    with torch.device('meta'):
        z, c = torch.empty([1, G.z_dim]), torch.empty([1, spec.label_dim])
        img = torch.empty([1, spec.channels, spec.height, spec.width])
    return count_macs(G, z, c), count_macs(D, img, c)


def _options(generator: Any) -> list[str]:
    """Returns 'name=default' of every field, or its choices if it has a fixed set of them."""
    options = []
    for field in dataclasses.fields(generator):
        choices = choices_of(type(generator), field.name)
        shown = '|'.join(map(str, choices)) if choices else getattr(generator, field.name)
        options.append(f'{field.name}={shown}')
    return options
