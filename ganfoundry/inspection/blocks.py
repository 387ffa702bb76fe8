"""`--what=blocks`: what each ToRGB of an image-skip network adds to the image, and Eq. (7) of the squeeze paper.

Park and Shin, arXiv 2407.05527, section III-A.

Letters: N images, C image channels, I features of a block, H and W size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from dnnlib.errors import ConfigError
from extensions.squeeze import SqueezeConfig
from ganfoundry.inspection.drawn import Drawing, pixels
from ganfoundry.inspection.finding import Finding
from ganfoundry.inspection.taps import Call
from torch_utils.ops.upfirdn2d import upsample2d
from training.networks.synthesis import SynthesisNetwork


def inspect_blocks(drawing: Drawing) -> Finding:
    """Returns the contribution of every block, the image up to it, and the sum of the contributions beside the image.

    Raises:
        ConfigError: If the network does not add images of its blocks.
    """
    blocks = skip_blocks(drawing)
    images, calls = drawing.run({f'{res}': block.torgb for res, block in blocks.items()})
    filters = [block.resample_filter for block in blocks.values()]
    added = [calls[f'{res}'].output.double() for res in blocks]  # [N, C, h, w] each
    parts = [enlarged(rgb, filters[index + 1 :]) for index, rgb in enumerate(added)]  # [N, C, H, W] each
    total = torch.stack(parts).sum(dim=0).cpu()  # [N, C, H, W]
    finding = Finding()
    sum_so_far = torch.zeros_like(parts[0])
    for (res, block), part in zip(blocks.items(), parts, strict=True):
        size = part.abs().max().item()
        sum_so_far = sum_so_far + part
        height, width = calls[f'{res}'].output.shape[2:]
        finding.rows.append(
            (f'{height}x{width} adds (times {1 / size if size else 1:.2g})', pixels(part / (size or 1)))
        )
        finding.rows.append((f'sum up to {height}x{width}', pixels(sum_so_far)))
        block_facts = {'dimensions': features_of(block), 'rms': part.square().mean().sqrt().item(), 'largest': size}
        finding.facts.setdefault('blocks', {})[f'{res}'] = block_facts
    largest = images.abs().max().item()
    finding.facts['image'] = {
        'largest': largest,
        'difference_to_sum': (total - images).abs().max().item(),
        'difference_to_eq_7': (one_layer(blocks, calls) - images[:1]).abs().max().item(),
    }
    finding.facts['dimensions'] = dimensions(drawing, blocks)
    finding.lines = sentences(finding.facts)
    return finding


def skip_blocks(drawing: Drawing) -> dict[int, Any]:
    """Returns the blocks of a network in which each adds to the image, by resolution. ConfigError for any other."""
    network = drawing.network
    synthesis = getattr(network.module, 'synthesis', None)
    if isinstance(synthesis, SynthesisNetwork) and all(block.num_torgb for block in synthesis.blocks()):
        return dict(zip(synthesis.resolutions, synthesis.blocks(), strict=True))
    raise ConfigError(
        f'--what=blocks: {network.path} ({network.config.cfg}) has no image skip connections; StyleGAN2 and squeeze do'
    )


def enlarged(rgb: torch.Tensor, filters: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns images after the upsampling of the following blocks, whose filters are given."""
    for f in filters:
        rgb = upsample2d(rgb, f.to(rgb.dtype), impl='ref')
    return rgb


def features_of(block: Any) -> int:
    """Returns the number of features that a block's ToRGB reads."""
    return int(block.torgb.weight.shape[1])


def one_layer(blocks: dict[int, Any], calls: dict[str, Call]) -> torch.Tensor:
    """Returns the first image by Eq. (7), float64 [1, C, H, W].

    The features of all blocks, upsampled to the image's size and concatenated, pass through one linear layer, whose
    weights are those of the ToRGBs. Here the layer is applied to one block's features at a time, so that no
    concatenated tensor is stored. The biases are upsampled as the features are.
    """
    filters = [block.resample_filter for block in blocks.values()]
    total: Any = 0
    for index, (res, block) in enumerate(blocks.items()):
        features, w = (tensor[:1].double() for tensor in calls[f'{res}'].inputs)
        styles = copy.deepcopy(block.torgb.affine).double()(w) * block.torgb.weight_gain  # [1, I]
        weight = block.torgb.weight.double()[:, :, 0, 0] * styles  # [C, I]
        bias = block.torgb.bias.double()[None, :, None, None].expand(-1, -1, *features.shape[2:])  # [1, C, h, w]
        later = filters[index + 1 :]
        # Eq. (7): y = W [up(f_4), up(f_8), ...], this block's columns of W
        total = total + torch.einsum('ci,nihw->nchw', weight, enlarged(features, later)) + enlarged(bias, later)
    result: torch.Tensor = total.cpu()
    return result


def dimensions(drawing: Drawing, blocks: dict[int, Any]) -> dict[str, int]:
    """Returns the number of dimensions that Eq. (7) reads: of this network, of StyleGAN2, and of squeeze throughout."""
    found = {'this_network': sum(features_of(block) for block in blocks.values())}
    channels = drawing.network.module.synthesis.channels.values()
    config = drawing.network.config.generator
    ratio = config.ratio if isinstance(config, SqueezeConfig) else SqueezeConfig().ratio
    return found | {
        'stylegan2': sum(channels),
        'squeeze_at_every_size': sum(max(c // ratio, 1) for c in channels),
        'ratio': ratio,
    }


def sentences(facts: dict[str, Any]) -> list[str]:
    """Returns the facts in words."""
    count, image = facts['dimensions'], facts['image']
    return [
        f'Eq. (7): the image is one linear layer of {count["this_network"]:,} dimensions; of StyleGAN2 at these widths '
        f'{count["stylegan2"]:,}, squeezed by {count["ratio"]} at every size {count["squeeze_at_every_size"]:,}.',
        f'The sum of all blocks differs from the image by {image["difference_to_sum"]:.1e}, Eq. (7) by '
        f'{image["difference_to_eq_7"]:.1e}, of values up to {image["largest"]:.2f}.',
    ]
