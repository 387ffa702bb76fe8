"""From a config and the facts of a data set to the state of a run."""

from __future__ import annotations

import copy
import os

import torch

from dnnlib.errors import ConfigError
from torch_utils.seeding import seed_torch
from training import registry
from training.augment.config import FILTERED, FILTERED_SIZE
from training.augment.controller import Controller
from training.config import RunConfig
from training.interface import ImageSpec, StyleGenerator
from training.networks.layers import set_precision
from training.objective.guidance import attach_tasks
from training.objective.lecam import LeCam
from training.objective.losses import BOUNDARIES
from training.optimize.guardian import Guardian
from training.optimize.loss_scale import LossScale
from training.optimize.optimizers import make_optimizer
from training.state import TrainState

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def build_networks(cfg: RunConfig, spec: ImageSpec) -> tuple[torch.nn.Module, torch.nn.Module]:
    """G and D on the current default device, with their lowered blocks set to the run's precision.

    Raises ConfigError where a network cannot take the resolution, or lacks what a regulariser needs.
    """
    _check_resolution(cfg, spec)
    _check_filter(cfg, spec)
    G = registry.architecture_of(registry.GENERATORS, cfg.generator).build(cfg.generator, spec)
    D = registry.architecture_of(registry.DISCRIMINATORS, cfg.discriminator).build(cfg.discriminator, spec)
    _check_capabilities(cfg, G)
    attach_tasks({'ggdr': cfg.ggdr, 'glead': cfg.glead}, spec, G, D)
    for net in (G, D):
        set_precision(net, DTYPES[cfg.precision])
    return G, D


def build(cfg: RunConfig, spec: ImageSpec, device: torch.device) -> TrainState:
    """A fresh run: initialised networks, a copy of G for the moving average, and optimisers."""
    seed_torch(cfg.seed, 'init')
    G, D = build_networks(cfg, spec)  # on the CPU, so that every device starts from the same weights
    G, D = G.to(device).train().requires_grad_(False), D.to(device).train().requires_grad_(False)
    return TrainState(
        G=G,
        D=D,
        G_ema=copy.deepcopy(G).eval(),
        opt_G=make_optimizer(G, cfg.g_opt, cfg.pl.interval),
        opt_D=make_optimizer(D, cfg.d_opt, cfg.r1.interval),
        pl_mean=torch.zeros([], device=device),
        controller=Controller(cfg.aug, cfg.batch, device, BOUNDARIES[cfg.loss.kind]) if cfg.aug.adapts else None,
        lecam=LeCam(cfg.lecam, device) if cfg.lecam.weight > 0 else None,
        scale_G=LossScale(device) if cfg.precision == 'fp16' else None,
        scale_D=LossScale(device) if cfg.precision == 'fp16' else None,
        guardian=Guardian(cfg.guardian, cfg.aug.adapts, cfg.loss.kind) if cfg.guardian.mode != 'off' else None,
    )


def resolve_precision(wanted: str, device: torch.device) -> str:
    """'auto' as what is fast and safe on this device; anything else as it is."""
    if wanted != 'auto':
        return wanted
    if device.type == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp16'
    return 'bf16' if device.type == 'cpu' and _cpu_has_bf16() else 'fp32'


def _cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware: AMX or AVX512-BF16."""
    if not os.path.exists('/proc/cpuinfo'):
        return False
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        flags = next((line.split() for line in file if line.startswith('flags')), [])
    return 'amx_bf16' in flags or 'avx512_bf16' in flags


def _check_resolution(cfg: RunConfig, spec: ImageSpec) -> None:
    smallest = registry.RECIPES.get(cfg.cfg).min_resolution
    if spec.resolution < smallest:
        height, width = spec.size_at(smallest)
        raise ConfigError(
            f'--cfg={cfg.cfg}: draws images from {width}x{height} up, the data are {spec.width}x{spec.height}; '
            f'use larger images or another --cfg'
        )


def _check_filter(cfg: RunConfig, spec: ImageSpec) -> None:
    filtered = cfg.aug.kind in ('ada', 'fixed') and cfg.aug.pipe in FILTERED
    if filtered and min(spec.height, spec.width) < FILTERED_SIZE:
        raise ConfigError(
            f'--augpipe={cfg.aug.pipe}: its filter needs images from {FILTERED_SIZE}x{FILTERED_SIZE} up, the data are '
            f'{spec.height}x{spec.width}; --augpipe=bgc has no filter'
        )


def _check_capabilities(cfg: RunConfig, G: torch.nn.Module) -> None:
    if isinstance(G, StyleGenerator):
        return
    for field, value, what in (
        ('pl.weight', cfg.pl.weight, 'path length regularisation'),
        ('style_mixing_prob', cfg.style_mixing_prob, 'style mixing'),
    ):
        if value > 0:
            raise ConfigError(
                f'{field}={value}: {what} needs a generator with a W space, --cfg={cfg.cfg} has none; --set {field}=0'
            )
