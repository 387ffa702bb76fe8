"""Export of snapshots as plain state dicts for StyleGAN2-ADA's and StyleGAN3's code.

The parameter names are already the official ones. The header adds the arguments of the official classes, so that
`Generator(**G_kwargs).load_state_dict(...)` works there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dnnlib.errors import CheckpointError
from torch_utils.checkpoint import save_tensors
from training.interface import ImageSpec
from training.legacy.fit import check_fit
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.stylegan2 import StyleGAN2Generator
from training.run.snapshot import Snapshot

FORMAT = 'stylegan2-ada-pytorch-state-dict'
BUILDERS = {'G_ema': StyleGAN2Generator, 'G': StyleGAN2Generator, 'D': StyleGAN2Discriminator}


def export(snapshot: Snapshot, path: Path) -> None:
    """Writes 'G_ema.NAME', 'D.NAME' and, if the snapshot has it, 'G.NAME'; the header has the arguments as JSON.

    Raises:
        CheckpointError: if NVIDIA's code does not have the architecture.
    """
    cfg, spec = snapshot.config()
    where = str(snapshot.path)
    if (
        type(cfg.generator) is not StyleGAN2GeneratorConfig
        or type(cfg.discriminator) is not StyleGAN2DiscriminatorConfig
    ):
        raise CheckpointError(f'{where}: made with --cfg={cfg.cfg}; only StyleGAN2 networks have official names')
    if spec.base != (4, 4):
        raise CheckpointError(f'{where}: draws {spec.width}x{spec.height}; official networks draw squares only')
    for name, build in BUILDERS.items():
        part = {k.removeprefix(f'{name}.'): t for k, t in snapshot.tensors.items() if k.startswith(f'{name}.')}
        if part or name == 'G_ema':
            check_fit(build, cfg.discriminator if name == 'D' else cfg.generator, spec, part, f'{where}: {name}')
    header = {
        'format': FORMAT,
        'G_kwargs': json.dumps(generator_kwargs(cfg.generator, spec)),
        'D_kwargs': json.dumps(discriminator_kwargs(cfg.discriminator, spec)),
        'nimg': str(snapshot.nimg),
    }
    save_tensors(path, snapshot.tensors, header)


def generator_kwargs(cfg: StyleGAN2GeneratorConfig, spec: ImageSpec) -> dict[str, Any]:
    """Returns the arguments of StyleGAN2-ADA's Generator."""
    mapping = {'num_layers': cfg.map_depth, 'lr_multiplier': cfg.map_lr_multiplier, 'w_avg_beta': cfg.w_avg_beta}
    return {
        'z_dim': cfg.z_dim,
        'w_dim': cfg.w_dim,
        **_sizes(spec),
        'mapping_kwargs': mapping,
        'synthesis_kwargs': _blocks(cfg),
    }


def discriminator_kwargs(cfg: StyleGAN2DiscriminatorConfig, spec: ImageSpec) -> dict[str, Any]:
    """Returns the arguments of StyleGAN2-ADA's Discriminator."""
    return {
        **_sizes(spec),
        **_blocks(cfg),
        'cmap_dim': cfg.cmap_dim,
        'block_kwargs': {'freeze_layers': cfg.freezed},
        'mapping_kwargs': {'num_layers': cfg.map_depth, 'lr_multiplier': cfg.map_lr_multiplier},
        'epilogue_kwargs': {'mbstd_group_size': cfg.mbstd_group, 'mbstd_num_channels': cfg.mbstd_channels},
    }


def _sizes(spec: ImageSpec) -> dict[str, Any]:
    return {'c_dim': spec.label_dim, 'img_resolution': spec.resolution, 'img_channels': spec.channels}


def _blocks(cfg: StyleGAN2GeneratorConfig | StyleGAN2DiscriminatorConfig) -> dict[str, Any]:
    names = ('channel_base', 'channel_max', 'architecture', 'num_fp16_res', 'conv_clamp')
    return {name: getattr(cfg, name) for name in names}
