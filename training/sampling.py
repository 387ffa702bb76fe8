"""Streams of generated images, for metrics: a function of the seed alone.

Letters: N images in a batch, C channels, H and W image size, W the space of a style generator, t a place on a path.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from torch_utils.images import to_uint8
from torch_utils.seeding import numpy_generator, seed_torch
from training.dataset import ImageDataset
from training.interface import StyleGenerator
from training.networks.layers import set_precision


@torch.no_grad()
def generated_batches(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset,
    num_images: int,
    seed: int,
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[torch.Tensor]:
    """Yields uint8 [N, C, H, W] on G's device until `num_images` have been drawn.

    Labels are drawn from the data set's, noise is random, nothing is truncated. check: called before each batch; it
    may raise to stop.
    """
    for index, z, c in _inputs(G, dataset, num_images, seed, batch_size):
        check()
        yield _draw(G, z, c, seed, index)


@torch.no_grad()
def generated_at(
    G: Any, dataset: ImageDataset, positions: Sequence[int], num_images: int, seed: int, batch_size: int
) -> dict[int, torch.Tensor]:
    """Single images of `generated_batches`, the same bits: {position: uint8 [C, H, W] on the CPU}.

    Only the batches that hold a position are drawn. The other arguments are those of the stream.
    """
    found: dict[int, torch.Tensor] = {}
    for index, z, c in _inputs(G, dataset, num_images, seed, batch_size):
        wanted = [position for position in positions if position // batch_size == index]
        if wanted:
            images = _draw(G, z, c, seed, index).cpu()  # [N, C, H, W]
            found |= {position: images[position % batch_size] for position in wanted}
    return found


def _inputs(
    G: Any, dataset: ImageDataset, num_images: int, seed: int, batch_size: int
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Number, latents [N, z_dim] and labels [N, label_dim] of each batch."""
    latents, labels = numpy_generator(seed, 'metric latents'), numpy_generator(seed, 'metric labels')
    for index, start in enumerate(range(0, num_images, batch_size)):
        n = min(batch_size, num_images - start)
        z = torch.from_numpy(latents.standard_normal([n, G.z_dim]).astype(np.float32))
        yield index, z, _draw_labels(dataset, labels, n)


def _draw(G: Any, z: torch.Tensor, c: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """uint8 [N, C, H, W] of batch `index`, whose noise is its own."""
    device = next(G.parameters()).device
    seed_torch(seed, 'metric noise', index)
    return to_uint8(G(z.to(device), c.to(device), noise_mode='random'))


def path_batches(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset,
    space: str,
    sampling: str,
    num_pairs: int,
    seed: int,
    *,
    epsilon: float,
    batch_size: int = 2,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of images for PPL: float32 [N, C, H, W] on G's device, nominal range [0, 255], neither clipped nor rounded.

    The ends of a step from t to t + epsilon of the path between two latents, t = 0 (sampling 'end') or uniform in
    [0, 1) ('full'); space 'z' or 'w'. Both ends have one label, drawn from the data set's, and one noise, new for each
    batch; G computes in float32. ConfigError, at once, for W without a W space. check: as in `generated_batches`.
    """
    if space == 'w' and not isinstance(G, StyleGenerator):
        raise ConfigError(
            f'ppl_w{sampling}: {type(G).__name__} has no W space; ppl_z{sampling} or ppl2_z{sampling} measures in Z'
        )
    return _path_batches(G, dataset, space, sampling, num_pairs, seed, epsilon, batch_size, check)


@torch.no_grad()
def _path_batches(
    G: Any,
    dataset: ImageDataset,
    space: str,
    sampling: str,
    num_pairs: int,
    seed: int,
    epsilon: float,
    batch_size: int,
    check: Callable[[], None],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    G = copy.deepcopy(G)  # its noise and its precision are about to change
    set_precision(G, torch.float32)
    device = next(G.parameters()).device
    latents, labels = numpy_generator(seed, 'path latents'), numpy_generator(seed, 'path labels')
    places = numpy_generator(seed, 'path places')
    for index, start in enumerate(range(0, num_pairs, batch_size)):
        check()
        n = min(batch_size, num_pairs - start)
        ends = (
            torch.from_numpy(latents.standard_normal([n, 2, G.z_dim])).to(device).transpose(0, 1)
        )  # [2, N, z_dim] float64
        t = torch.from_numpy(places.random([n, 1]) * (sampling == 'full')).to(device)  # [N, 1] float64
        c = _draw_labels(dataset, labels, n).to(device).repeat(2, 1)  # [2 N, label_dim]
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
        a, b = ((img.float() + 1) * 127.5).chunk(2)  # [N, C, H, W]
        yield a, b


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
