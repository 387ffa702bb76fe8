"""R3GAN's networks under official names, with the arguments of the official classes."""

from __future__ import annotations

from typing import Any

from dnnlib.errors import CheckpointError
from torch_utils.checkpoint import Tensors
from training.interface import ImageSpec
from training.legacy.r3gan import names_of

FORMAT = 'r3gan-state-dict'
CHANNELS = 3  # channels of every image there


def official_tensors(tensors: Tensors, net: str, cfg: Any) -> Tensors:
    """Returns the tensors of one network by official names.

    Args:
        tensors: Tensors by our names, without the name of the network.
        net: 'G' or 'D'.
        cfg: Config of the network.
    """
    own = {ours: official for official, ours in names_of(net, _order(cfg.num_blocks, net)).items()}
    basis = f'stages.{len(cfg.num_blocks) - 1}.transition.basis'
    if net == 'D':
        tensors = tensors | {basis: tensors[basis].unsqueeze(1)}  # [C, 1, h, w]
    return {f'Model.{own[name]}': tensor for name, tensor in tensors.items()}


def arguments_of(net: str, cfg: Any, spec: ImageSpec) -> dict[str, Any]:
    """Returns the arguments of R3GAN's Generator or Discriminator.

    Args:
        net: 'G' or 'D'.
        cfg: Config of the network.
        spec: Facts of the data set.
    """
    widths = _order(cfg.channels, net)
    lowered = range(min(cfg.num_fp16_res, len(widths) - 1))  # stages of the highest resolutions; never that of 4x4
    noise = {'NoiseDimension': cfg.z_dim} if net == 'G' else {}
    embedding = {'ConditionEmbeddingDimension': cfg.z_dim if net == 'G' else cfg.channels[0]} if spec.label_dim else {}
    return {
        **embedding,
        **noise,
        'WidthPerStage': list(widths),
        'CardinalityPerStage': [width * cfg.expansion // cfg.group_channels for width in widths],
        'BlocksPerStage': list(_order(cfg.num_blocks, net)),
        'ExpansionFactor': cfg.expansion,
        'FP16Stages': [-1 - i for i in lowered] if net == 'G' else list(reversed(lowered)),
    }


def check_official(spec: ImageSpec, where: str) -> None:
    """Raises CheckpointError for images that the official networks do not draw."""
    if spec.channels != CHANNELS:
        raise CheckpointError(f'{where}: draws {spec.channels} channels; official R3GAN networks draw {CHANNELS}')


def _order(values: tuple[int, ...], net: str) -> tuple[int, ...]:
    """Returns numbers per stage, from 4x4 upwards, in the order of the network's stages."""
    return values if net == 'G' else values[::-1]
