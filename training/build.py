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
from training.interface import ImageSpec, Stateful, StyleGenerator
from training.networks.layers import set_precision
from training.objective.features import check_features
from training.objective.term import TERMS, Term, has_hook
from training.optimize.guardian import Guardian
from training.optimize.loss_scale import LossScale
from training.optimize.optimizers import make_optimizer
from training.state import TrainState

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


def build_networks(cfg: RunConfig, spec: ImageSpec) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Returns G and D on the current default device, with their lowered blocks set to the run's precision.

    Raises ConfigError if a network does not support the resolution, or lacks something that a term needs.
    """
    return _build_objective(cfg, spec, torch.device('cpu'))[:2]


def build(cfg: RunConfig, spec: ImageSpec, device: torch.device) -> TrainState:
    """Builds a new run: initialized networks, a copy of G for the moving average, optimizers, terms and parts.

    Args:
        cfg: Config of the run.
        spec: Facts of the data set.
        device: Device of all tensors.

    Returns:
        The state before the first step.
    """
    seed_torch(cfg.seed, 'init')
    G, D, terms = _build_objective(cfg, spec, device)  # networks on the CPU: every device starts from the same weights
    G, D = G.to(device).train().requires_grad_(False), D.to(device).train().requires_grad_(False)
    return TrainState(
        G=G,
        D=D,
        G_ema=copy.deepcopy(G).eval(),
        opt_G=make_optimizer(G, cfg.g_opt, cfg.pl.interval),
        opt_D=make_optimizer(D, cfg.d_opt, cfg.r1.interval),
        # State files hold this number even if the term `pl` is off.
        pl_mean=terms['pl'].moving[0] if 'pl' in terms else torch.zeros([], device=device),
        terms=terms,
        parts=_build_parts(cfg, terms, device),
        batches_per_step=cfg.batches_per_step,
    )


def _build_objective(
    cfg: RunConfig, spec: ImageSpec, device: torch.device
) -> tuple[torch.nn.Module, torch.nn.Module, dict[str, Term]]:
    """Builds the networks on the default device, and the active terms, which attach to them.

    Args:
        cfg: Config of the run.
        spec: Facts of the data set.
        device: Device of the terms' own tensors.

    Returns:
        G, D, and the terms by name in the order in which they run.
    """
    _check_resolution(cfg, spec)
    _check_filter(cfg, spec)
    G = registry.architecture_of(registry.GENERATORS, cfg.generator).build(cfg.generator, spec)
    D = registry.architecture_of(registry.DISCRIMINATORS, cfg.discriminator).build(cfg.discriminator, spec)
    _check_style_mixing(cfg, G)
    terms: dict[str, Term] = {}
    for name, settings in cfg.all_terms().items():
        if settings.active:
            terms[name] = term = TERMS.get(name).build(settings, G, D, device)
            if term.needs_features:
                check_features(name, G, D)
            if has_hook(term, 'attach'):
                term.attach(spec)
    for net in (G, D):
        set_precision(net, DTYPES[cfg.precision])
    return G, D, terms


def _build_parts(cfg: RunConfig, terms: dict[str, Term], device: torch.device) -> dict[str, Stateful]:
    """Builds the parts of a state with a state of their own, under the names and in the order of state files.

    Args:
        cfg: Config of the run.
        terms: Active terms by name.
        device: Device of all tensors.
    """
    parts: dict[str, Stateful] = {}
    boundary = cfg.loss.boundary
    if cfg.aug.adapts:
        assert boundary is not None  # RunConfig refuses such a loss
        parts['controller'] = Controller(cfg.aug, cfg.batch, device, boundary)
    parts |= {name: term for name, term in terms.items() if isinstance(term, Stateful)}
    if cfg.precision == 'fp16':
        parts |= {'scale_G': LossScale(device), 'scale_D': LossScale(device)}
    if cfg.guardian.mode != 'off':
        parts['guardian'] = Guardian(cfg.guardian, cfg.aug.adapts, boundary)
    return parts


def resolve_precision(wanted: str, device: torch.device) -> str:
    """Returns a precision that is fast and safe on this device for 'auto', anything else unchanged."""
    if wanted != 'auto':
        return wanted
    if device.type == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp16'
    return 'bf16' if device.type == 'cpu' and _cpu_has_bf16() else 'fp32'


def tf32_by_default(precision: str, device: torch.device) -> bool:
    """Returns whether a new run rounds the factors of its float32 products to TF32, unless --allow-tf32 says otherwise.

    On a GPU the blocks that stay float32 cost most of a bf16 or fp16 run without it. TF32 keeps 11 bits, as many as
    float16 and more than bfloat16, which their neighbors compute in.
    """
    return device.type == 'cuda' and precision != 'fp32'


def _cpu_has_bf16() -> bool:
    """Returns whether this CPU multiplies bfloat16 in hardware: AMX or AVX512-BF16."""
    if not os.path.exists('/proc/cpuinfo'):
        return False
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        flags = next((line.split() for line in file if line.startswith('flags')), [])
    return 'amx_bf16' in flags or 'avx512_bf16' in flags


def _check_resolution(cfg: RunConfig, spec: ImageSpec) -> None:
    """Raises ConfigError if the images are smaller than the recipe draws them."""
    smallest = registry.RECIPES.get(cfg.cfg).min_resolution
    if spec.resolution < smallest:
        height, width = spec.size_at(smallest)
        raise ConfigError(
            f'--cfg={cfg.cfg}: draws images from {width}x{height} up, the data are {spec.width}x{spec.height}; '
            f'use larger images or another --cfg, such as auto'
        )


def _check_filter(cfg: RunConfig, spec: ImageSpec) -> None:
    """Raises ConfigError if the images are too small for the augmentation's filter."""
    filtered = cfg.aug.kind in ('ada', 'fixed') and cfg.aug.pipe in FILTERED
    if filtered and min(spec.height, spec.width) < FILTERED_SIZE:
        raise ConfigError(
            f'--augpipe={cfg.aug.pipe}: its filter needs images from {FILTERED_SIZE}x{FILTERED_SIZE} up, the data are '
            f'{spec.height}x{spec.width}; --augpipe=bgc has no filter'
        )


def _check_style_mixing(cfg: RunConfig, G: torch.nn.Module) -> None:
    """Raises ConfigError if styles are to be mixed by a generator that has none."""
    if cfg.style_mixing_prob > 0 and not isinstance(G, StyleGenerator):
        raise ConfigError(
            f'style_mixing_prob={cfg.style_mixing_prob}: style mixing needs a generator with a W space, '
            f'--cfg={cfg.cfg} has none; --set style_mixing_prob=0'
        )
