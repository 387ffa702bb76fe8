"""Streams of generated images, for metrics: a function of the seed alone.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from torch_utils.images import to_uint8
from torch_utils.seeding import numpy_generator, seed_torch
from training.dataset import ImageDataset


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
    device = next(G.parameters()).device
    latents, labels = numpy_generator(seed, 'metric latents'), numpy_generator(seed, 'metric labels')
    for index, start in enumerate(range(0, num_images, batch_size)):
        check()
        n = min(batch_size, num_images - start)
        z = torch.from_numpy(latents.standard_normal([n, G.z_dim]).astype(np.float32)).to(device)  # [N, z_dim]
        c = torch.zeros([n, 0], device=device)
        if dataset.spec.label_dim > 0:
            c = torch.from_numpy(dataset.labels(labels.integers(len(dataset), size=n))).to(device)  # [N, label_dim]
        seed_torch(seed, 'metric noise', index)
        yield to_uint8(G(z, c, noise_mode='random'))  # [N, C, H, W]
