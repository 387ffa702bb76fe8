"""Streams of generated images, for metrics: a function of the seed and the batch size, drawn whole or in parts.

Letters: N images in a batch, C channels, H and W image size, W the space of a style generator, t a place on a path.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from dnnlib.errors import ConfigError
from torch_utils.images import to_uint8
from torch_utils.seeding import numpy_generator, seed_torch
from training.data.dataset import ImageDataset
from training.interface import StyleGenerator
from training.networks.layers import set_precision

T = TypeVar('T')
Inputs = tuple[torch.Tensor, torch.Tensor]
Walk = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def generated(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset,
    parts: Iterable[range],
    *,
    num_images: int,
    seed: int,
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[torch.Tensor]:
    """Yields the images at the positions of each part, uint8 [N, C, H, W] on G's device.

    The stream has `num_images` and is drawn in batches, of which only those that hold a wanted image are; its images
    do not depend on the parts. Labels are drawn from the data set's, noise is random, nothing is truncated.
    parts: ascending, disjoint. check: called before each batch; it may raise to stop.
    """
    device = next(G.parameters()).device

    @torch.no_grad()
    def draw(index: int, inputs: Inputs) -> torch.Tensor:
        check()
        seed_torch(seed, 'metric noise', index)  # each batch has a noise of its own
        z, c = inputs
        return to_uint8(G(z.to(device), c.to(device), noise_mode='random'))  # [N, C, H, W]

    return _cut(parts, batch_size, _inputs(G, dataset, num_images, seed, batch_size), draw)


def generated_paths(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset,
    parts: Iterable[range],
    *,
    space: str,
    sampling: str,
    num_pairs: int,
    seed: int,
    epsilon: float,
    batch_size: int = 2,
    check: Callable[[], None] = lambda: None,
) -> Iterator[torch.Tensor]:
    """Yields pairs of images for PPL: float32 [N, 2, C, H, W] on G's device, range [0, 255], not clipped, not rounded.

    The ends of a step from t to t + epsilon of the path between two latents, t = 0 (sampling 'end') or uniform in
    [0, 1) ('full'); space 'z' or 'w'. Both ends have one label, drawn from the data set's, and one noise, new for each
    batch; G computes in float32. ConfigError, at once, for W without a W space. parts, check: as in `generated`.
    """
    if space == 'w' and not isinstance(G, StyleGenerator):
        raise ConfigError(
            f'ppl_w{sampling}: {type(G).__name__} has no W space; ppl_z{sampling} or ppl2_z{sampling} measures in Z'
        )
    walk = _walk(G, dataset, sampling, num_pairs, seed, batch_size)
    return _cut(parts, batch_size, walk, _path_ends(G, space, seed, epsilon, check))


def _path_ends(
    G: Any, space: str, seed: int, epsilon: float, check: Callable[[], None]
) -> Callable[[int, Walk], torch.Tensor]:
    """What draws a batch of pairs, [N, 2, C, H, W]; a copy of G is made for the first one."""
    device = next(G.parameters()).device

    @functools.cache
    def in_float32() -> Any:
        copied = copy.deepcopy(G)  # its noise and its precision are about to change
        set_precision(copied, torch.float32)
        return copied

    @torch.no_grad()
    def draw(index: int, walk: Walk) -> torch.Tensor:
        check()
        G = in_float32()
        ends, t, c = (x.to(device) for x in walk)
        c = c.repeat(2, 1)  # [2 N, label_dim]
        seed_torch(seed, 'path noise', index)
        for name, buffer in G.named_buffers():
            if name.endswith('noise_const'):
                buffer.normal_()
        # In float64: a step is 1e-4 of the path, and float32 would lose three digits of it.
        if space == 'w':
            w0, w1 = G.mapping(ends.flatten(0, 1).float(), c).double().chunk(2)  # [N, num_ws, w_dim]
            ws = [w0.lerp(w1, t[:, :, None] + step) for step in (0.0, epsilon)]
            img = G.synthesis(torch.cat(ws).float(), noise_mode='const')
        else:
            z = [slerp(ends[0], ends[1], t + step) for step in (0.0, epsilon)]
            img = G(torch.cat(z).float(), c, noise_mode='const')
        return torch.stack(((img.float() + 1) * 127.5).chunk(2), dim=1)  # [N, 2, C, H, W]

    return draw


def _cut(
    parts: Iterable[range], batch_size: int, inputs: Iterator[T], draw: Callable[[int, T], torch.Tensor]
) -> Iterator[torch.Tensor]:
    """The items of each part of a stream that is drawn in batches; inputs are made for all batches, in their order."""
    index, batch = -1, None
    for part in parts:
        pieces = []
        for wanted in range(part.start // batch_size, -(-part.stop // batch_size)):
            while index < wanted:
                index, given, batch = index + 1, next(inputs), None
            batch = draw(index, given) if batch is None else batch
            begin = index * batch_size
            pieces.append(batch[max(part.start - begin, 0) : part.stop - begin])
        yield pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _inputs(G: Any, dataset: ImageDataset, num_images: int, seed: int, batch_size: int) -> Iterator[Inputs]:
    """Latents [N, z_dim] and labels [N, label_dim] of each batch."""
    latents, labels = numpy_generator(seed, 'metric latents'), numpy_generator(seed, 'metric labels')
    for start in range(0, num_images, batch_size):
        n = min(batch_size, num_images - start)
        z = torch.from_numpy(latents.standard_normal([n, G.z_dim]).astype(np.float32))
        yield z, _draw_labels(dataset, labels, n)


def _walk(G: Any, dataset: ImageDataset, sampling: str, num_pairs: int, seed: int, batch_size: int) -> Iterator[Walk]:
    """Latents at both ends [2, N, z_dim] and places [N, 1], float64, and labels [N, label_dim] of each batch."""
    latents, labels = numpy_generator(seed, 'path latents'), numpy_generator(seed, 'path labels')
    places = numpy_generator(seed, 'path places')
    for start in range(0, num_pairs, batch_size):
        n = min(batch_size, num_pairs - start)
        ends = torch.from_numpy(latents.standard_normal([n, 2, G.z_dim])).transpose(0, 1)
        t = torch.from_numpy(places.random([n, 1]) * (sampling == 'full'))
        yield ends, t, _draw_labels(dataset, labels, n)


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The point at t [N, 1] of the great circle from the direction of a to that of b, both [N, z_dim].

    Its length is sqrt(z_dim), the usual one of a latent, not 1: a generator that normalises its latents does not know
    the difference, and one that does not is shown what it was trained on.
    """
    a, b = (v / v.norm(dim=1, keepdim=True) for v in (a, b))
    across = b - a * (a * b).sum(dim=1, keepdim=True)
    angle = t * (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    point = a * angle.cos() + across / across.norm(dim=1, keepdim=True) * angle.sin()
    return point * math.sqrt(a.shape[1])


def _draw_labels(dataset: ImageDataset, rng: np.random.Generator, n: int) -> torch.Tensor:
    """Labels of n images drawn with replacement, [N, label_dim] float32; nothing is drawn where there are none."""
    if dataset.spec.label_dim == 0:
        return torch.zeros([n, 0])
    return torch.from_numpy(dataset.labels(rng.integers(len(dataset), size=n)))
