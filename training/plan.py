"""The plan of a run in text (`--dry-run`), and the table of all recipes (`--cfg=list`)."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from typing import Any

import psutil
import torch

from dnnlib.config import choices_of
from dnnlib.errors import ConfigError
from dnnlib.log import counted, format_bytes, format_time
from torch_utils.images import grid_shape
from torch_utils.macs import format_macs
from torch_utils.summary import count, module_table
from training.build import build_networks
from training.config import RunConfig
from training.data.dataset import conversion_command
from training.interface import ImageSpec
from training.record import to_record
from training.registry import RECIPES
from training.sizes import macs_of, network_sizes
from training.trial import Trial, fewer_images

KINDS = {1: 'gray', 3: 'RGB', 4: 'RGBA, four channels'}  # images by their number of channels


def describe_run(
    cfg: RunConfig, spec: ImageSpec, run_name: str, *, notes: Sequence[str] = (), verbose: bool = False
) -> str:
    """Returns data, networks, schedule and disk; builds nothing except shapes.

    Args:
        cfg: Config of the run.
        spec: Facts of the data set.
        run_name: Path of the run folder.
        notes: Lines that follow the facts of the data.
        verbose: Begin with every field of the config and every module of the networks.
    """
    with torch.device('meta'):
        G, D = build_networks(cfg, spec)
    parts = [
        '\n'.join([describe_data(cfg, spec), *notes]),
        _describe_networks(cfg, spec, G, D),
        describe_schedule(cfg, spec),
        _describe_disk(cfg, spec, G, D),
        f'Run folder: {run_name}',
    ]
    if verbose:
        config = 'Config\n' + json.dumps(to_record(cfg, spec)['config'], indent=2)
        parts = ['\n\n'.join([config, module_table(G, 'Generator'), module_table(D, 'Discriminator'), '']), *parts]
    return '\n'.join(parts)


def describe_data(cfg: RunConfig, spec: ImageSpec) -> str:
    """Returns the facts of the data; of images with transparency, how to train without it."""
    kind = KINDS.get(spec.channels, f'{spec.channels} channels')
    flips = ', half of them x-flips' if cfg.data.mirror else ''
    lines = [
        f'Data: {counted(spec.num_images, "image")} of {spec.width}x{spec.height}{_describe_base(spec)}, {kind}, '
        f'{spec.bits} bits, {_describe_labels(cfg, spec)}{flips}',
        f'  from {cfg.data.path or "the embedded set, peeps64.zip"}',
    ]
    if spec.channels == 4:
        lines.append(
            f'  transparency is a fourth channel to learn; without it: {conversion_command(cfg.data.source, "-rgb")}'
        )
    return '\n'.join(lines)


def _describe_labels(cfg: RunConfig, spec: ImageSpec) -> str:
    return f'labels of width {spec.label_dim}' if cfg.data.cond else 'no labels'


def _describe_base(spec: ImageSpec) -> str:
    """Returns the base of the networks unless it is 4x4: a large base doubled seldom makes shallow networks."""
    if tuple(spec.base) == (4, 4):
        return ''
    return f' (base {spec.base[1]}x{spec.base[0]}, {counted(spec.resolution.bit_length() - 3, "doubling")})'


def _describe_networks(cfg: RunConfig, spec: ImageSpec, G: torch.nn.Module, D: torch.nn.Module) -> str:
    g_macs, d_macs = (format_macs(macs) for macs in macs_of(G, D, spec))
    return (
        f'Networks: --cfg={cfg.cfg}, precision {describe_precision(cfg)}\n'
        f'  G {count(G)[0]:,} parameters, {g_macs} multiply-adds per image; D {count(D)[0]:,}, {d_macs}'
    )


def describe_precision(cfg: RunConfig) -> str:
    """Returns the arithmetic of a run in words."""
    return f'{cfg.precision}, float32 as TF32 on GPUs' if cfg.allow_tf32 else cfg.precision


def describe_trial(cfg: RunConfig, trial: Trial, device: torch.device) -> str:
    """Returns the time and the memory of a run.

    Args:
        cfg: Config of the run.
        trial: Measurement of its steps.
        device: Device that trains.
    """
    whole = format_time(trial.sec_per_kimg * cfg.kimg)
    per_kimg = f'{trial.sec_per_kimg:.1f} s' if trial.sec_per_kimg < 60 else format_time(trial.sec_per_kimg)
    processes = f', divided by {cfg.gpus} processes' if cfg.gpus > 1 else ''
    sizes = (
        f'{counted(trial.sizes[-1], "image")}'
        if len(trial.sizes) == 1
        else f'{trial.sizes[0]} and {trial.sizes[1]} images'
    )
    lines = [
        f'Time: about {per_kimg} per kimg on {device.type}, {whole} for {cfg.kimg} kimg, without metrics '
        f'(measured on steps of {sizes}{processes})',
        f'Memory: about {format_bytes(trial.num_bytes)} per process on {device.type}, without the workers',
    ]
    there = psutil.virtual_memory().total
    if device.type == 'cpu' and trial.num_bytes * cfg.gpus > there:
        lines.append(f'  this machine has {format_bytes(there)}; {fewer_images(cfg)}')
    return '\n'.join(lines)


def total_macs(cfg: RunConfig, spec: ImageSpec) -> int:
    """Returns the multiply-adds of the forward pass of one image through G and D."""
    return sum(size.macs for size in network_sizes(cfg, spec).values())


def describe_schedule(cfg: RunConfig, spec: ImageSpec) -> str:
    """Returns length, steps, ticks, snapshots, losses and augmentation; builds nothing."""
    steps = -(-cfg.kimg * 1000 // cfg.batch)
    epochs = cfg.batches_per_step * cfg.kimg * 1000 / spec.num_images
    decimals = 0 if epochs >= 10 else 1
    snapshots = int(cfg.kimg / cfg.tick / cfg.snap) + 1
    return (
        f'Schedule: {cfg.kimg} kimg = {counted(steps, "step")} of {counted(cfg.batch, "image")} '
        f'({counted(cfg.gpus, "process", "processes")} x {_micro_batches(cfg)}), {epochs:,.{decimals}f} epochs\n'
        f'  one tick per {cfg.tick:g} kimg, one snapshot per {cfg.tick * cfg.snap:g} kimg ({snapshots} in all), '
        f'metrics {", ".join(cfg.metrics) or "none"}\n'
        f'  loss {cfg.loss.kind}, {counted(cfg.n_critic, "step")} of D per step of G; {_penalties(cfg)}'
        f'\n  augmentation: {_augmentation(cfg)}{_describe_decay(cfg)}{_describe_ramps(cfg)}'
    )


def _micro_batches(cfg: RunConfig) -> str:
    """Returns number and size of the micro-batches of a process, such as '2 micro-batches x 16'."""
    texts = {
        net: f'{counted(cfg.num_micro(net), "micro-batch", "micro-batches")} x {cfg.micro_size(net)}' for net in 'DG'
    }
    return texts['D'] if texts['D'] == texts['G'] else f'{texts["D"]} of D and {texts["G"]} of G'


def _describe_decay(cfg: RunConfig) -> str:
    """Returns a line about the fall of the learning rates at the end of the run, '' if they stay."""
    if cfg.lr_decay_kimg == 0:
        return ''
    return f'\n  learning rates: fall to 0 over the last {cfg.lr_decay_kimg:g} kimg'


def _describe_ramps(cfg: RunConfig) -> str:
    """Returns a line with the values that follow the run's schedule, '' if it has none; gamma and p have their own."""
    final = cfg.schedule
    ends = {
        'lr': (cfg.g_opt.lr, final.lr),
        'beta2': (cfg.g_opt.beta2, final.beta2),
        'EMA half-life': (cfg.ema.kimg, final.ema_kimg),
    }
    moves = [f'{name} {start:g} to {end:g}' for name, (start, end) in ends.items() if end is not None]
    return f'\n  over the first {final.kimg:g} kimg: {", ".join(moves)}' if moves else ''


def _augmentation(cfg: RunConfig) -> str:
    """Returns the words for the augmentation of D's images and its strength."""
    aug, final = cfg.aug, cfg.schedule.p
    moves = (
        f'p from {aug.p:g} towards a mean sign of D of {aug.target:g}, by 1 in {aug.kimg:g} kimg, at most {aug.p_max:g}'
    )
    blurred = f', after a blur of sigma {aug.blur_sigma:g} that fades within {aug.blur_fade_kimg:g} kimg'
    words = {
        'noaug': 'none',
        'ada': f'ADA, {aug.pipe}, {moves}',
        'fixed': f'{aug.pipe} at p {aug.p:g}' + ('' if final is None else f' to {final:g}'),
        'diffaug': f'DiffAugment, {aug.policy}',
        'apa': f'pseudo-real images (APA), {moves}',
    }[aug.kind]
    return words + blurred if aug.blur_sigma > 0 else words


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
        f'Disk: about {format_bytes(total)} = {counted(snapshots, "snapshot")} of {format_bytes(snapshot)}, '
        f'{cfg.keep} + 1 states of {format_bytes(state)} (and one while it is written), '
        f'sheets of at most {format_bytes(sheet)}'
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
    g_macs, d_macs = (format_macs(macs) for macs in macs_of(G, D, spec))
    return (
        f'at {spec.width}x{spec.height}: G {count(G)[0]:,} parameters, {g_macs} multiply-adds; '
        f'D {count(D)[0]:,}, {d_macs}'
    )


def _options(generator: Any) -> list[str]:
    """Returns 'name=default' of every field, or its choices if it has a fixed set of them."""
    options = []
    for field in dataclasses.fields(generator):
        choices = choices_of(type(generator), field.name)
        shown = '|'.join(map(str, choices)) if choices else getattr(generator, field.name)
        options.append(f'{field.name}={shown}')
    return options
