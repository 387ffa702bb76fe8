"""Export of snapshots as plain state dicts for the code of StyleGAN2-ADA and StyleGAN3, or for that of R3GAN.

The parameter names of StyleGAN2 are already the official ones. The header adds the arguments of the official classes,
so that `Generator(**G_kwargs).load_state_dict(...)` works there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dnnlib.errors import CheckpointError
from torch_utils.checkpoint import Tensors, save_tensors
from training.config import RunConfig
from training.interface import ImageSpec
from training.legacy.fit import check_fit
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.registry import DISCRIMINATORS, GENERATORS, architecture_of
from training.run import export_r3gan
from training.run.snapshot import Snapshot

FORMAT = 'stylegan2-ada-pytorch-state-dict'


def export(snapshot: Snapshot, path: Path) -> None:
    """Writes 'G_ema.NAME', 'D.NAME' and, if the snapshot has it, 'G.NAME'; the header has the arguments as JSON.

    Raises:
        CheckpointError: if NVIDIA's code does not have the architecture.
    """
    cfg, spec = snapshot.config()
    where = str(snapshot.path)
    G = architecture_of(GENERATORS, cfg.generator)
    D = architecture_of(DISCRIMINATORS, cfg.discriminator)
    if (G.name, D.name) not in (('stylegan2', 'stylegan2'), ('r3gan', 'r3gan')):
        raise CheckpointError(
            f'{where}: made with --cfg={cfg.cfg}; only networks of StyleGAN2 and of R3GAN have official names'
        )
    if spec.base != (4, 4):
        raise CheckpointError(f'{where}: draws {spec.width}x{spec.height}; official networks draw squares only')
    parts: dict[str, Tensors] = {}
    for name in ('G_ema', 'G', 'D'):
        part = {k.removeprefix(f'{name}.'): t for k, t in snapshot.tensors.items() if k.startswith(f'{name}.')}
        if part or name == 'G_ema':
            net, network = (D, cfg.discriminator) if name == 'D' else (G, cfg.generator)
            check_fit(net.build, network, spec, part, f'{where}: {name}')
            parts[name] = part
    if G.name == 'r3gan':
        export_r3gan.check_official(spec, where)
        parts = {k: export_r3gan.official_tensors(part, k[0], _network(cfg, k)) for k, part in parts.items()}
        arguments = {net: export_r3gan.arguments_of(net, _network(cfg, net), spec) for net in ('G', 'D')}
    else:
        arguments = {
            'G': generator_kwargs(cfg.generator, spec),
            'D': discriminator_kwargs(cfg.discriminator, spec),
        }
    header = {
        'format': FORMAT if G.name == 'stylegan2' else export_r3gan.FORMAT,
        **{f'{net}_kwargs': json.dumps(kwargs) for net, kwargs in arguments.items()},
        'nimg': str(snapshot.nimg),
    }
    named = {f'{name}.{key}': tensor for name, part in parts.items() for key, tensor in part.items()}
    save_tensors(path, named, header)


def official_generator(cfg: RunConfig, spec: ImageSpec) -> dict[str, Any] | None:
    """Returns the arguments of StyleGAN2-ADA's Generator whose state dict is that of a run's generator, or None."""
    is_official = architecture_of(GENERATORS, cfg.generator).name == 'stylegan2' and spec.base == (4, 4)
    return generator_kwargs(cfg.generator, spec) if is_official else None


def _network(cfg: RunConfig, name: str) -> Any:
    """Returns the config of a network by its name in a snapshot."""
    return cfg.discriminator if name == 'D' else cfg.generator


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
