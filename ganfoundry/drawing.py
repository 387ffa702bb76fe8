"""Drawing images with a network: from points of its latent space to arrays and to files.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry.class_option import Label
from ganfoundry.points import Point, batched, points_of_seeds, stack
from torch_utils.images import fits_png, save_npy, save_png, shown, to_uint8, to_uint16
from torch_utils.seeding import seed_torch
from training.data.stored_image import to_8_bits
from training.optimize.recalibrate import BATCHES, batch_norms, recalibrate
from training.run.snapshot import Snapshot

RECALIBRATION_BATCH = 32  # images in each of the batches that --recalibrate measures
RECORDED = ('truncation_psi', 'noise_mode', 'precision', 'recalibrate')  # settings that each PNG names
NOISE_MODES = ('const', 'random', 'none')


class Drawn(NamedTuple):
    """An image and its point. image: uint8 or uint16 [C, H, W]. batch: its position in its batch, and their number."""

    point: Point
    image: np.ndarray
    batch: tuple[int, int]


def draw_points(
    G: Any,
    points: Iterable[Point],
    *,
    truncation_psi: float = 1,
    noise_mode: str = 'const',
    bits: int = 8,
    batch: int = 8,
) -> Iterator[Drawn]:
    """Yields the images of points, in order; a batch is drawn when its first image is asked for.

    Args:
        G: The network.
        points: Points of its latent spaces. Styles (w) go to the synthesis network as they are.
        truncation_psi: Truncation of z; 1 for none.
        noise_mode: 'const', 'random' or 'none'. Random noise is a function of the point.
        bits: Bits of a channel, 8 or 16.
        batch: Number of images that the network draws at a time.

    Raises:
        DataError: At an image that is not finite.
    """
    for part in batched(points, batch_for(noise_mode, batch)):
        images = draw_batch(G, part, truncation_psi=truncation_psi, noise_mode=noise_mode)  # [N, C, H, W]
        pixels = (to_uint8 if bits == 8 else to_uint16)(images).numpy()
        for position, (point, image) in enumerate(zip(part, pixels, strict=True)):
            yield Drawn(point, image, (position, len(part)))


def draw_batch(G: Any, batch: Sequence[Point], *, truncation_psi: float = 1, noise_mode: str = 'const') -> torch.Tensor:
    """Returns the images of one batch, float32 [N, C, H, W] on the CPU. Arguments and errors: see `draw_points`."""
    device = next(G.parameters()).device
    latents, c = (tensor.to(device) for tensor in stack(batch))
    seed_torch(batch[0].noise_seed, 'generate')
    with torch.no_grad():
        if batch[0].space == 'w':
            drawn = G.synthesis(latents, noise_mode=noise_mode)  # [N, C, H, W]
        else:
            drawn = G(latents, c, truncation_psi=truncation_psi, noise_mode=noise_mode)  # [N, C, H, W]
    images: torch.Tensor = drawn.cpu()
    if not images.isfinite().all():
        bad = next(point.name for point, image in zip(batch, images, strict=True) if not image.isfinite().all())
        raise DataError(
            f'{bad}: the network draws NaN or infinity; its weights are damaged, or its --precision is too low'
        )
    return images


def batch_for(noise_mode: str, batch: int) -> int:
    """Returns 1 for random noise, which is drawn for a whole batch: each image stays a function of its own point."""
    return 1 if noise_mode == 'random' else batch


def draw_seeds(G: Any, seeds: Sequence[int], label: torch.Tensor, **how: Any) -> np.ndarray:
    """Returns the images of seeds, uint8 or uint16 [N, C, H, W].

    Args:
        G: The network.
        seeds: Numbers from 0 to 2^32 - 1.
        label: Label of all images, [1, label_dim].
        **how: Further arguments of `draw_points`.
    """
    points = points_of_seeds(seeds, G.z_dim, Label(label[0], '', ''))
    return np.stack([drawn.image for drawn in draw_points(G, points, **how)])


def check_finite(value: float, option: str) -> None:
    """Refuses NaN and infinity as the value of an option."""
    if not math.isfinite(value):
        raise ConfigError(f'{option}={value}: expected a finite number, such as 0.7')


def image_info(snapshot: Snapshot, network_sha256: str, **settings: Any) -> dict[str, Any]:
    """Returns the text chunks of a PNG: its network and the settings of `RECORDED`."""
    assert settings.keys() == set(RECORDED)
    info = {'network': snapshot.path.name, 'network_sha256': network_sha256, 'nimg': snapshot.nimg}
    return info | {name: settings[name] for name in RECORDED}


def measure_batch_norm(G: Any, label: torch.Tensor, truncation_psi: float) -> None:
    """Measures batch-norm statistics again, at one truncation and label; training measures untruncated latents.

    Args:
        G: The network, changed in place.
        label: Label of all images, [1, c_dim], or labels [K, c_dim], which they take in turn.
        truncation_psi: Factor of the latents.

    Raises:
        ConfigError: If the network has no batch normalization.
    """
    if not batch_norms(G):
        raise ConfigError('--recalibrate: this network has no batch normalization; drop the flag')
    device = next(G.parameters()).device
    seed_torch(0, 'recalibration')
    z = torch.randn([BATCHES, RECALIBRATION_BATCH, G.z_dim], device=device)  # [batches, N, z_dim]
    turns = torch.arange(BATCHES * RECALIBRATION_BATCH).view(BATCHES, -1) % len(label)  # [batches, N]
    latents = ((batch, label.to(device)[turn]) for batch, turn in zip(z, turns, strict=True))
    recalibrate(G, latents, truncation_psi)


def save_image(image: np.ndarray, path: Path, info: dict[str, Any]) -> None:
    """Writes [C, H, W] as a PNG; if no PNG can hold it, as .npy and as a PNG of 8 bits for viewing.

    Args:
        image: Image, uint8 or uint16 [C, H, W].
        path: The PNG.
        info: Text chunks of the PNG.

    Raises:
        DataError: If a file cannot be written, for instance on a full disk.
    """
    try:
        if fits_png(image):
            save_png(image, path, info)
            return
        save_npy(image, path.with_suffix('.npy'))
        save_png(shown(to_8_bits(image)), path, info)
    except OSError as error:
        raise DataError(f'{path}: cannot be written: {error.strerror or error}') from None


def make_outdir(name: str) -> Path:
    """Returns the folder of --outdir, created if need be."""
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--outdir={name}: cannot be made: {error.strerror}') from None
    return path
