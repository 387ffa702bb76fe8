"""The ws of a network: which block and layers read each of them, and the option --styles, which chooses some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.errors import ConfigError
from ganfoundry.latent_options import Seeds
from training.interface import ImageSpec
from training.networks.synthesis import SynthesisNetwork

# Karras et al. 2019 (arXiv 1812.04948), Sec. 3.1: coarse, middle and fine spatial resolutions.
WORDS = {'coarse': (4, 8), 'middle': (16, 32), 'fine': (64, 2**30)}
DEFAULT_RESOLUTION = 16  # blocks up to here are exchanged without --styles
EXPECTED = 'expected indices and ranges (0,2-5), coarse, middle, fine, all, none, or blocks (8x8-16x16)'


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the ws.

    Attributes:
        index: Its index, from 0 to num_ws - 1.
        resolution: Resolution of the block of its convolutions; None if the network does not have StyleGAN2's blocks.
        size: Width x height of the block's output, such as '8x8'; empty without a block.
        modules: The layers that read it, such as 'b4.torgb' and 'b8.conv0'.
    """

    index: int
    resolution: int | None
    size: str
    modules: tuple[str, ...]

    @property
    def title(self) -> str:
        """The layer for captions, such as '3 (8x8 conv1)'."""
        own = [name.partition('.')[2] for name in self.modules if name.startswith(f'b{self.resolution}.')]
        return f'{self.index} ({self.size} {" ".join(own)})' if self.size else str(self.index)


def layers_of(G: Any, spec: ImageSpec) -> list[Layer]:
    """Returns the ws of a network with a W space. spec: facts of its images."""
    if not isinstance(G.synthesis, SynthesisNetwork):
        return [Layer(index, None, '', ()) for index in range(G.num_ws)]
    readers = readers_of(G)
    layers = []
    for index in range(G.num_ws):
        modules = readers[index]
        resolution = max(int(name.partition('.')[0].removeprefix('b')) for name in modules)
        height, width = spec.size_at(resolution)
        layers.append(Layer(index, resolution, f'{width}x{height}', tuple(modules)))
    return layers


def readers_of(G: Any) -> list[list[str]]:
    """Returns the layers that read each w: in one run, w number i holds i, and each layer's affine map sees it."""
    readers: list[list[str]] = [[] for _ in range(G.num_ws)]
    hooks = []
    for name, module in G.synthesis.named_modules():
        if name.endswith('.affine'):

            def note(_: Any, inputs: tuple[torch.Tensor, ...], name: str = name) -> None:
                readers[int(inputs[0][0, 0])].append(name.removesuffix('.affine'))

            hooks.append(module.register_forward_pre_hook(note))
    device = next(G.parameters()).device
    ws = torch.arange(G.num_ws, dtype=torch.float32, device=device)[None, :, None].expand(1, -1, G.w_dim)
    try:
        with torch.no_grad():
            G.synthesis(ws, noise_mode='none')
    finally:
        for hook in hooks:
            hook.remove()
    return readers


def parse_styles(text: str | None, layers: Sequence[Layer]) -> tuple[int, ...]:
    """Returns the indices of the ws that --styles chooses, ascending.

    Args:
        text: A list of indices, ranges, words and blocks; None for all blocks up to 16x16, or half of the ws if that
            is less.
        layers: The ws of the network.

    Raises:
        ConfigError: Says what the network has.
    """
    if text is None:
        low = [layer.index for layer in layers if layer.resolution is None or layer.resolution <= DEFAULT_RESOLUTION]
        return tuple(low[: len(layers) // 2])
    chosen: set[int] = set()
    for part in text.split(','):
        chosen.update(_indices_of(part.strip().lower(), layers, f'--styles={text}'))
    return tuple(sorted(chosen))


def _indices_of(text: str, layers: Sequence[Layer], where: str) -> Sequence[int]:
    """Returns the indices of one part of the list."""
    if text in ('all', 'none'):
        return range(len(layers) if text == 'all' else 0)
    if match := re.fullmatch(r'(\d{1,20})(?:\s*-\s*(\d{1,20}))?', text):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= len(layers):
            raise ConfigError(f'{where}: this network has num_ws = {len(layers)}, with indices 0 to {len(layers) - 1}')
        return range(first, last + 1)
    if text in WORDS or re.fullmatch(r'\d+x\d+(-\d+x\d+)?', text):
        if layers[0].resolution is None:
            raise ConfigError(f'{where}: this network does not have the blocks of StyleGAN2; give indices')
        low, high = WORDS[text] if text in WORDS else _resolutions(text, layers, where)
        indices = [layer.index for layer in layers if low <= (layer.resolution or 0) <= high]
        if not indices:
            raise ConfigError(f'{where}: this network has no {text} layers; its blocks are {_blocks(layers)}')
        return indices
    raise ConfigError(f'{where}: {EXPECTED}')


def _resolutions(text: str, layers: Sequence[Layer], where: str) -> tuple[int, int]:
    """Returns the first and the last resolution of '8x8' or '8x8-16x16'."""
    known = {layer.size: layer.resolution or 0 for layer in layers}
    first, _, last = text.partition('-')
    for size in (first, last or first):
        if size not in known:
            raise ConfigError(f'{where}: no block draws {size}; the blocks of this network are {_blocks(layers)}')
    if known[first] > known[last or first]:
        raise ConfigError(f'{where}: a range goes up')
    return known[first], known[last or first]


def _blocks(layers: Sequence[Layer]) -> str:
    return ', '.join(dict.fromkeys(layer.size for layer in layers))


def ranges_of(indices: Sequence[int]) -> str:
    """Returns '0-3,7' for ascending indices, and 'none' without any."""
    ranges: list[range] = []
    for index in indices:
        if ranges and ranges[-1].stop == index:
            ranges[-1] = range(ranges[-1].start, index + 1)
        else:
            ranges.append(range(index, index + 1))
    return str(Seeds(ranges)) or 'none'


def described(indices: Sequence[int], layers: Sequence[Layer]) -> str:
    """Returns the caption of a sheet: which layers were exchanged."""
    sizes = [size for size in dict.fromkeys(layers[index].size for index in indices) if size]
    blocks = f', in the blocks {" ".join(sizes)}' if sizes else ''
    what = f'styles {ranges_of(indices)} of 0-{len(layers) - 1}' if indices else 'no styles'
    return f'columns give {what}{blocks}'


def table(layers: Sequence[Layer]) -> str:
    """Returns the text of --styles=list: index, block and layers of every w."""
    lines = ['index  block       layers']
    lines += [f'{layer.index:5}  {layer.size or "-":10}  {" ".join(layer.modules) or "-"}' for layer in layers]
    return '\n'.join(lines)
