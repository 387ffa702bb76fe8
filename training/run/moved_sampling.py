"""Images of a still and of a moved input of a generator, for the metrics of equivariance.

Letters: N images of a batch, C channels, H and W image size, u uniform in [0, 1).
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from torch_utils.seeding import numpy_generator, seed_torch
from training.data.dataset import ImageDataset
from training.interface import ImageSpec, MovableGenerator
from training.networks.layers import set_precision
from training.run.sampling import draw_labels, finite

FARTHEST = 0.125  # largest translation, as a share of width and height

Moved = tuple[torch.Tensor, torch.Tensor]  # images [N, 2, C, H, W], motion [1 or 2]


def generated_moves(
    G: Any,  # torch.nn.Module with the contract of interface.Generator
    dataset: ImageDataset | None,
    spec: ImageSpec,
    *,
    motion: str,
    num_images: int,
    seed: int,
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> Callable[[Iterable[range]], Iterator[Moved]]:
    """Returns the stream of images of a still and of a moved input.

    A batch has one motion. G computes in float32, without truncation; labels are drawn from the data set.

    Args:
        G: The generator.
        dataset: Source of the labels; None for a generator without labels.
        spec: Facts of the images.
        motion: 'whole' and 'part' for translations, 'turn' for rotations.
        num_images: Length of the stream.
        seed: Seed of latents, labels, noise and motions.
        batch_size: Number of images drawn at a time, and of every part but the last.
        check: Called before each batch; may raise to stop.

    Raises:
        ConfigError: At once, if G takes no transform of its input.
    """
    if not isinstance(G, MovableGenerator):
        raise ConfigError(
            f'equivariance: {type(G).__name__} takes no transform of its input; eqt50k_int, eqt50k_frac and eqr50k '
            'measure StyleGAN3'
        )
    module: Any = G
    device = next(module.parameters()).device

    @functools.cache
    def in_float32() -> Any:
        copied = copy.deepcopy(module)  # the copy's transform, noise and precision change
        set_precision(copied, torch.float32)
        return copied

    @torch.no_grad()
    def draw(part: range) -> Moved:
        check()
        moving, index = in_float32(), part.start // batch_size
        n = min(batch_size, num_images - index * batch_size)
        rng = numpy_generator(seed, 'motion', index)
        z = torch.from_numpy(rng.standard_normal([n, G.z_dim]).astype(np.float32)).to(device)
        by = draw_motion(motion, rng, spec)
        c = draw_labels(dataset, rng, n).to(device)
        seed_torch(seed, 'motion noise', index)
        for name, buffer in moving.named_buffers():
            if name.endswith('noise_const'):
                buffer.normal_()
        images = []
        for matrix in (torch.eye(3, dtype=torch.float64), matrix_of(motion, by, spec)):
            moving.set_transform(matrix)
            images.append(finite(moving(z, c, noise_mode='const')))  # [N, C, H, W]
        begin = index * batch_size
        return torch.stack(images, dim=1)[part.start - begin : part.stop - begin], by

    return lambda parts: map(draw, parts)


def draw_motion(motion: str, rng: np.random.Generator, spec: ImageSpec) -> torch.Tensor:
    """Draws a motion.

    Args:
        motion: 'whole', 'part' or 'turn'.
        rng: Source of u.
        spec: Facts of the images.

    Returns:
        t [2], the shares of width and height, or alpha [1] in radians; float32.
    """
    if motion == 'turn':
        return torch.from_numpy((2 * rng.random(1) - 1) * math.pi).float()
    t = (2 * rng.random(2) - 1) * FARTHEST
    if motion == 'whole':
        size = np.array([spec.width, spec.height])
        t = np.round(t * size) / size
    return torch.from_numpy(t).float()


def matrix_of(motion: str, by: torch.Tensor, spec: ImageSpec) -> torch.Tensor:
    """Returns where a motion moves the positions of an image, float64 [3, 3].

    Args:
        motion: 'whole', 'part' or 'turn'.
        by: The motion, as `draw_motion` returns it.
        spec: Facts of the images.
    """
    matrix = torch.eye(3, dtype=torch.float64)
    if motion == 'turn':
        c, s = math.cos(by[0]), math.sin(by[0])
        matrix[:2, :2] = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    else:
        matrix[:2, 2] = by.double() * torch.tensor([spec.width, spec.height]) / spec.resolution
    return matrix
