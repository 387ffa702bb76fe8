"""Files of a projection, under the names of StyleGAN2-ADA.

target.png, proj.png, projected_w.npz (projected_z.npz), projection.json, proj.mp4; tuned.safetensors if the generator
has changed, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from dnnlib.files import sha256_of, write_json
from dnnlib.records import read_record
from ganfoundry.drawing import image_info, save_image
from ganfoundry.films import Film
from ganfoundry.network import Network
from ganfoundry.pictures import text_of
from ganfoundry.projection.perceptual import Perceptual, as_rgb
from ganfoundry.projection.project import Projection
from ganfoundry.projection.settings import Settings
from ganfoundry.projection.targets import Target
from torch_utils.images import from_pixels, to_uint8
from training.run.latents import DIGEST, Latents, write_latents
from training.run.snapshot import Snapshot, load_snapshot, write_snapshot

TUNED, RECORD = 'tuned.safetensors', 'projection.json'
FPS = 10  # frames per second of proj.mp4
DIGITS = 6  # significant digits of the curve


def film_of(path: Path, target: Target) -> tuple[Film, Callable[[torch.Tensor], None]]:
    """Returns the film of a projection, and the function that appends an image [1, C, H, W].

    A frame shows the target on the left and the image of a step on the right.
    """
    film = Film(path, fps=FPS, comment=json.dumps({'command': 'projector', 'target': target.name}))
    left = _shown(from_pixels(torch.from_numpy(target.pixels[None])))  # [H, W, 3]
    return film, lambda image: film.add(np.concatenate([left, _shown(image)], axis=1))


def _shown(image: torch.Tensor) -> np.ndarray:
    """Returns an image [1, C, H, W] as RGB, alpha over white, uint8 [H, W, 3]."""
    return to_uint8(as_rgb(image)[0].cpu()).permute(1, 2, 0).numpy()


def write_projection(
    folder: Path,
    found: Projection,
    target: Target,
    network: Network,
    *,
    settings: Settings,
    perceptual: Perceptual,
    interrupted: bool,
) -> None:
    """Writes all files of a result except for the film.

    Args:
        folder: The folder; it exists.
        found: The result.
        target: The image that was to be found.
        network: The network.
        settings: The settings.
        perceptual: The perceptual distance.
        interrupted: Whether the projection was stopped before its end.
    """
    origin, point = origin_of(target, settings), found.drawn.point
    source, digest = network.snapshot, network.sha256
    if found.changed:
        source = write_tuned(folder / TUNED, found.G, network, origin)
        digest = sha256_of(source.path)
    c = point.c[None] if len(point.c) > 0 else None
    latents = Latents(space=point.space, points=point.latent[None], c=c, provenance={DIGEST: digest, **origin})
    write_latents(folder / f'projected_{point.space}.npz', latents)
    save_image(target.pixels, folder / 'target.png', {'target': target.name, 'network_sha256': digest})
    drawn_with = {'truncation_psi': 1, 'noise_mode': 'const', 'recalibrate': False, 'precision': network.precision}
    save_image(
        found.drawn.image, folder / 'proj.png', {**image_info(source, digest, **drawn_with), **text_of(found.drawn)}
    )
    write_json(
        folder / RECORD,
        record_of(found, target, network, digest, origin=origin, perceptual=perceptual, interrupted=interrupted),
    )


def record_of(
    found: Projection,
    target: Target,
    network: Network,
    network_sha256: str,
    *,
    origin: dict[str, Any],
    perceptual: Perceptual,
    interrupted: bool,
) -> dict[str, Any]:
    """Returns the content of projection.json.

    Args:
        found: The result.
        target: The image that was to be found.
        network: The network that was given.
        network_sha256: Digest of the file of the network that draws the result.
        origin: Command, target and settings.
        perceptual: The perceptual distance.
        interrupted: Whether the projection was stopped before its end.
    """
    drift = {} if found.drift is None else {'drift': found.drift}
    return {
        found.network: found.perceptual,
        'psnr': found.psnr if math.isfinite(found.psnr) else None,
        'std_from_mean': found.from_mean,
        **drift,
        'steps': len(found.curve) - 1,
        'seconds': round(found.seconds, 3),
        'interrupted': interrupted,
        'perceptual': {'network': perceptual.name, 'sha256': perceptual.digest},
        'target': {'name': target.name, 'channels': len(target.pixels), 'bits': 8 * target.pixels.itemsize},
        'base_sha256': network.sha256,
        'network_sha256': network_sha256,
        'origin': origin,
        'curve': {
            found.network: [float(f'{a:.{DIGITS}g}') for a, _ in found.curve],
            'mse': [float(f'{b:.{DIGITS}g}') for _, b in found.curve],
        },
    }


def write_tuned(path: Path, G: torch.nn.Module, network: Network, origin: dict[str, Any]) -> Snapshot:
    """Writes a snapshot with another G_ema, whose record names the snapshot that it was made from.

    Args:
        path: The file.
        G: The generator.
        network: The network that it was made from.
        origin: Command, target and settings.

    Returns:
        The written snapshot, without its tensors.
    """
    base = load_snapshot(network.path)
    tensors = base.tensors | {f'G_ema.{name}': value.cpu() for name, value in G.state_dict().items()}
    record = {**base.record, 'tuned': {'base': base.path.name, 'base_sha256': network.sha256, **origin}}
    write_snapshot(path, tensors, record, base.nimg)
    return Snapshot(path=path, tensors={}, record=record, nimg=base.nimg)


def origin_of(target: Target, settings: Settings) -> dict[str, Any]:
    """Returns command, target and settings, as the files of a result name them."""
    return {'command': 'projector', 'target': target.name, **asdict(settings)}


def check_free(folder: Path, target: Target, network: Network, settings: Settings) -> None:
    """Refuses a folder with the result of another command. Raises ConfigError that names it."""
    path = folder / RECORD
    if path.exists():
        record = read_record(path)
        was = record.values.get('base_sha256'), record.values.get('origin')
        if was != (network.sha256, origin_of(target, settings)):
            raise ConfigError(f'{path}: is of another projection; choose another --outdir, or add --overwrite')
