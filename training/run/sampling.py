"""Streams of generated images for metrics. A stream is a function of the seed and the batch size.

Letters: N images in a batch, C channels, H and W image size, t a position on a path.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from torch_utils.images import to_uint8
from torch_utils.seeding import numpy_generator, seed_torch
from training.data.dataset import ImageDataset
from training.networks.layers import set_precision
from training.run.latents import space_of

T = TypeVar('T')
Inputs = tuple[torch.Tensor, torch.Tensor]
Walk = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def generated(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset | None,
    parts: Iterable[range],
    *,
    num_images: int,
    seed: int,
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> Iterator[torch.Tensor]:
    """Yields the images at the positions of each part, uint8 [N, C, H, W] on G's device.

    Only batches with a requested image are drawn, and images do not depend on the parts. Labels are drawn from the data
    set, noise is random, and latents are not truncated.

    Args:
        G: the generator.
        dataset: source of the labels; None for a generator without labels.
        parts: ascending, disjoint ranges of positions in the stream.
        num_images: length of the stream.
        seed: seed of latents, labels and noise.
        batch_size: number of images drawn at a time; part of the stream's definition.
        check: called before each batch; may raise to stop.
    """
    device = next(G.parameters()).device

    @torch.no_grad()
    def draw(index: int, inputs: Inputs) -> torch.Tensor:
        check()
        seed_torch(seed, 'metric noise', index)  # separate noise for each batch
        z, c = inputs
        return to_uint8(finite(G(z.to(device), c.to(device), noise_mode='random')))  # [N, C, H, W]

    return _cut(parts, batch_size, _inputs(G, dataset, num_images, seed, batch_size), draw)


def generated_classes(
    dataset: ImageDataset | None, *, num_images: int, seed: int, batch_size: int
) -> torch.Tensor | None:
    """Returns the classes of the images of `generated`, int64 [N]; None if the data set has no classes."""
    if dataset is None:
        return None
    rng = numpy_generator(seed, 'metric labels')
    sizes = [min(batch_size, num_images - start) for start in range(0, num_images, batch_size)]
    drawn = np.concatenate([rng.integers(len(dataset), size=n) for n in sizes])
    classes = dataset.classes(drawn)
    return None if classes is None else torch.from_numpy(classes)


def generated_paths(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset | None,
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
    """Yields pairs of images for PPL, float32 [N, 2, C, H, W] on G's device in [0, 255], neither clipped nor rounded.

    A pair is a step from t to t + epsilon on the path between two latents. Both images have the same label, drawn from
    the data set, and the same noise, drawn once per batch. G computes in float32.

    Args:
        G: the generator.
        dataset: source of the labels; None for a generator without labels.
        parts: ascending, disjoint ranges of positions in the stream.
        space: 'z' or 'w'.
        sampling: 'end' for t = 0, 'full' for t uniform in [0, 1).
        num_pairs: length of the stream.
        seed: seed of latents, positions, labels and noise.
        epsilon: length of the step, as a fraction of the path.
        batch_size: number of pairs drawn at a time; part of the stream's definition.
        check: called before each batch; may raise to stop.

    Raises:
        ConfigError: at the call, if `space` is 'w' and G has no W space.
    """
    if space == 'w' and space_of(G) != 'w':
        raise ConfigError(
            f'ppl_w{sampling}: {type(G).__name__} has no W space; ppl_z{sampling} or ppl2_z{sampling} measures in Z'
        )
    walk = _walk(G, dataset, sampling, num_pairs, seed, batch_size)
    return _cut(parts, batch_size, walk, _path_ends(G, space, seed, epsilon, check))


def _path_ends(
    G: Any, space: str, seed: int, epsilon: float, check: Callable[[], None]
) -> Callable[[int, Walk], torch.Tensor]:
    """Returns a function that draws a batch of pairs, [N, 2, C, H, W]; the first call copies G."""
    device = next(G.parameters()).device

    @functools.cache
    def in_float32() -> Any:
        copied = copy.deepcopy(G)  # the copy's noise and precision change
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
        # float64, since a step of 1e-4 of the path would lose three digits in float32.
        if space == 'w':
            w0, w1 = G.mapping(ends.flatten(0, 1).float(), c).double().chunk(2)  # [N, num_ws, w_dim]
            ws = [w0.lerp(w1, t[:, :, None] + step) for step in (0.0, epsilon)]
            img = G.synthesis(torch.cat(ws).float(), noise_mode='const')
        else:
            z = [slerp(ends[0], ends[1], t + step) for step in (0.0, epsilon)]
            img = G(torch.cat(z).float(), c, noise_mode='const')
        return torch.stack(((finite(img).float() + 1) * 127.5).chunk(2), dim=1)  # [N, 2, C, H, W]

    return draw


def finite(images: torch.Tensor) -> torch.Tensor:
    """Returns images as they are. Raises DataError if a value is NaN or infinite, which rounding would hide."""
    if not bool(images.isfinite().all()):
        raise DataError(
            'the network draws NaN or infinity: its training has diverged, its weights are damaged, or its precision '
            'is too low (--precision=fp32); measure an earlier snapshot'
        )
    return images


def _cut(
    parts: Iterable[range], batch_size: int, inputs: Iterator[T], draw: Callable[[int, T], torch.Tensor]
) -> Iterator[torch.Tensor]:
    """Yields the items of each part of a stream that is drawn in batches. `inputs` advances over all batches."""
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


def _inputs(G: Any, dataset: ImageDataset | None, num_images: int, seed: int, batch_size: int) -> Iterator[Inputs]:
    """Yields latents [N, z_dim] and labels [N, label_dim] of each batch."""
    latents, labels = numpy_generator(seed, 'metric latents'), numpy_generator(seed, 'metric labels')
    for start in range(0, num_images, batch_size):
        n = min(batch_size, num_images - start)
        z = torch.from_numpy(latents.standard_normal([n, G.z_dim]).astype(np.float32))
        yield z, draw_labels(dataset, labels, n)


def _walk(
    G: Any, dataset: ImageDataset | None, sampling: str, num_pairs: int, seed: int, batch_size: int
) -> Iterator[Walk]:
    """Yields the end points [2, N, z_dim] and positions [N, 1], float64, and labels [N, label_dim] of each batch."""
    latents, labels = numpy_generator(seed, 'path latents'), numpy_generator(seed, 'path labels')
    places = numpy_generator(seed, 'path places')
    for start in range(0, num_pairs, batch_size):
        n = min(batch_size, num_pairs - start)
        ends = torch.from_numpy(latents.standard_normal([n, 2, G.z_dim])).transpose(0, 1)
        t = torch.from_numpy(places.random([n, 1]) * (sampling == 'full'))
        yield ends, t, draw_labels(dataset, labels, n)


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Returns the point at t [N, 1] of the great circle from the direction of a to that of b, both [N, z_dim].

    Its length is sqrt(z_dim), the usual length of a latent, instead of 1. A generator that normalizes its latents gives
    the same image for both, and one that does not receives latents as in training.
    """
    a, b = (v / v.norm(dim=1, keepdim=True) for v in (a, b))
    across = b - a * (a * b).sum(dim=1, keepdim=True)
    angle = t * (a * b).sum(dim=1, keepdim=True).clamp(-1, 1).acos()
    direction: torch.Tensor = a * angle.cos() + across / across.norm(dim=1, keepdim=True) * angle.sin()
    return direction * math.sqrt(a.shape[1])


def draw_labels(dataset: ImageDataset | None, rng: np.random.Generator, n: int) -> torch.Tensor:
    """Returns the labels of n images drawn with replacement, float32 [N, label_dim]; draws nothing without labels."""
    if dataset is None or dataset.spec.label_dim == 0:
        return torch.zeros([n, 0])
    return torch.from_numpy(dataset.labels(rng.integers(len(dataset), size=n)))
