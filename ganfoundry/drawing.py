"""Drawing images with a network: from seeds or stored latents to arrays and to files.

Letters: N images in a batch, C channels, H and W image size.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dnnlib.errors import ConfigError
from dnnlib.files import sha256_of
from dnnlib.registry import load_file
from ganfoundry.latent_options import (
    Batch,
    batches_of_latents,
    batches_of_seeds,
    chosen_seeds,
    one_hot,
    read_projected,
)
from torch_utils.devices import pick_device
from torch_utils.images import fits_png, save_npy, save_png, shown, tile, to_uint8, to_uint16
from torch_utils.seeding import seed_torch
from training.build import resolve_precision
from training.data.stored_image import to_8_bits
from training.optimize.recalibrate import BATCHES, batch_norms, recalibrate
from training.run.latents import note_on
from training.run.open_network import find_network
from training.run.snapshot import Snapshot, load_generator, load_snapshot

RECALIBRATION_BATCH = 32  # images in each of the batches that --recalibrate measures
RECORDED = ('truncation_psi', 'class_idx', 'noise_mode', 'precision', 'recalibrate')  # options that each PNG names


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawOptions:
    """The options of generate.py under their names in Python; `ganfoundry/commands/generate.py` describes each."""

    network: str
    seeds: str | None = None
    truncation_psi: float = 1
    class_idx: int | None = None  # --class
    noise_mode: str = 'const'
    recalibrate: bool = False
    projected_w: str | None = None
    grid: str | None = None
    outdir: str = 'out'
    batch: int = 8
    precision: str = 'fp32'
    plugin: tuple[str, ...] = ()
    device: str | None = None


def run_drawing(options: DrawOptions) -> None:
    """Carries out a command line of generate.py."""
    grid = parse_grid(options.grid) if options.grid else None
    seeds = [] if options.projected_w else chosen_seeds(options.seeds, grid)
    for plugin in options.plugin:
        load_file(plugin)
    device = pick_device(options.device, kinds=('cpu', 'cuda', 'mps'))
    path = find_network(options.network)
    snapshot = load_snapshot(path)
    G: Any = load_generator(snapshot, device, resolve_precision(options.precision, device))
    _, spec = snapshot.config()
    digest = sha256_of(path)
    info = image_info(snapshot, digest, **{name: getattr(options, name) for name in RECORDED})
    batch = batch_for(options.noise_mode, options.batch)
    names: list[tuple[str, dict[str, Any]]]  # stem of each image's file, and its origin
    if options.projected_w:
        batches, num_images = stored_batches(options, G, digest, batch)
        names = [(f'proj{index:02d}', {'projected_w': options.projected_w}) for index in range(num_images)]
    else:
        label = label_of(G, options.class_idx)  # [1, c_dim]
        if options.recalibrate:
            measure_batch_norm(G, label, options.truncation_psi)
        batches = batches_of_seeds(seeds, G.z_dim, label, batch)
        names = [(f'seed{seed:04d}', {'seed': seed}) for seed in seeds]
    images = draw_batches(
        G, batches, truncation_psi=options.truncation_psi, noise_mode=options.noise_mode, bits=spec.bits
    )
    outdir = make_outdir(options.outdir)
    if grid is not None:
        target = outdir / 'grid.png'
        sheet = np.concatenate(list(images))  # [N, C, H, W]
        save_png(tile(shown(to_8_bits(sheet)), grid[0]), target, {**info, 'seeds': seeds})
        print(f'{target}: {len(sheet)} images')
        return
    for (name, origin), image in zip(names, itertools.chain.from_iterable(images), strict=True):
        save_image(image, outdir / f'{name}.png', {**info, **origin})
    print(f'{outdir}: {len(names)} images')


def image_info(snapshot: Snapshot, network_sha256: str, **settings: Any) -> dict[str, Any]:
    """Returns the text chunks of a PNG: its network and the settings of `RECORDED`."""
    assert settings.keys() == set(RECORDED)
    info = {'network': snapshot.path.name, 'network_sha256': network_sha256, 'nimg': snapshot.nimg}
    return info | {name: settings[name] for name in RECORDED}


def parse_grid(text: str) -> tuple[int, int]:
    """Returns (8, 4), columns and rows, for '8x4'."""
    match = re.fullmatch(r'([1-9]\d{0,3})x([1-9]\d{0,3})', text)
    if match is None:
        raise ConfigError(f'--grid={text}: expected COLUMNSxROWS, such as 8x8')
    return int(match[1]), int(match[2])


def label_of(G: Any, class_idx: int | None) -> torch.Tensor:
    """Returns the label of --class, [1, c_dim]. An unconditional network ignores it, with a note."""
    if G.c_dim == 0 and class_idx is not None:
        print_note(f'--class={class_idx} is ignored, this network is unconditional')
        class_idx = None
    return one_hot(G.c_dim, class_idx)


def stored_batches(options: DrawOptions, G: Any, network_sha256: str, batch: int) -> tuple[Iterator[Batch], int]:
    """Reads the latents of --projected-w, and notes the options that have no effect on them.

    Args:
        options: The command line.
        G: The network.
        network_sha256: Digest of its file.
        batch: Number of images in a batch.

    Returns:
        The latents in batches, and the number of images.
    """
    latents = read_projected(options.projected_w or '', G)
    ignored = ['--seeds'] if options.seeds is not None else []
    if options.class_idx is not None and (latents.space == 'w' or latents.c is not None):
        ignored.append('--class')
    if options.truncation_psi != 1 and latents.space == 'w':
        ignored.append('--trunc')
    if ignored:
        print_note(f'{", ".join(ignored)} ignored: the latents of --projected-w are final')
    if (other := note_on(latents, network_sha256)) is not None:
        print_note(other)
    if latents.c is not None or latents.space == 'w':
        c = torch.zeros([1, G.c_dim]) if latents.c is None else latents.c  # styles need no label
    else:
        c = label_of(G, options.class_idx)
    return batches_of_latents(latents, c, batch), len(latents.points)


def print_note(text: str) -> None:
    """Prints a note on stderr."""
    print(f'note: {text}', file=sys.stderr)


def measure_batch_norm(G: Any, label: torch.Tensor, truncation_psi: float) -> None:
    """Measures batch-norm statistics again, at one truncation and label; training measures untruncated latents.

    Args:
        G: The network, changed in place.
        label: [1, c_dim].
        truncation_psi: Factor of the latents.

    Raises:
        ConfigError: If the network has no batch normalization.
    """
    if not batch_norms(G):
        raise ConfigError('--recalibrate: this network has no batch normalization; drop the flag')
    device = next(G.parameters()).device
    seed_torch(0, 'recalibration')
    z = torch.randn([BATCHES, RECALIBRATION_BATCH, G.z_dim], device=device)  # [batches, N, z_dim]
    latents = ((batch, label.to(device).expand(len(batch), -1)) for batch in z)
    recalibrate(G, latents, truncation_psi)


def batch_for(noise_mode: str, batch: int) -> int:
    """Returns 1 for random noise, which is drawn for a whole batch: each image stays a function of its own seed."""
    return 1 if noise_mode == 'random' else batch


def draw_batches(
    G: Any,
    batches: Iterable[Batch],
    *,
    truncation_psi: float = 1,
    noise_mode: str = 'const',
    bits: int = 8,
) -> Iterator[np.ndarray]:
    """Yields the images of each batch, uint8 or uint16 [N, C, H, W].

    Args:
        G: The network.
        batches: Latents with their labels. Styles (`w`) go to the synthesis network as they are.
        truncation_psi: Truncation of `z`; 1 for none.
        noise_mode: 'const', 'random' or 'none'. Random noise is seeded per batch (see `batch_for`).
        bits: Bits of a channel, 8 or 16.
    """
    device = next(G.parameters()).device
    for batch in batches:
        points = batch.points.to(device)
        seed_torch(batch.seed, 'generate')
        with torch.no_grad():
            if batch.space == 'w':
                img = G.synthesis(points, noise_mode=noise_mode)  # [N, C, H, W]
            else:
                c = batch.c.to(device).expand(len(points), -1)  # [N, c_dim]
                img = G(points, c, truncation_psi=truncation_psi, noise_mode=noise_mode)  # [N, C, H, W]
        yield (to_uint8 if bits == 8 else to_uint16)(img.cpu()).numpy()


def draw_seeds(G: Any, seeds: Sequence[int], label: torch.Tensor, *, batch: int = 8, **how: Any) -> np.ndarray:
    """Returns the images of seeds, uint8 or uint16 [N, C, H, W].

    Args:
        G: The network.
        seeds: Numbers from 0 to 2^32 - 1.
        label: Label of all images, [1, c_dim].
        batch: Number of images that the network draws at a time.
        **how: Further arguments of `draw_batches`.
    """
    size = batch_for(how.get('noise_mode', 'const'), batch)
    return np.concatenate(list(draw_batches(G, batches_of_seeds(seeds, G.z_dim, label, size), **how)))


def save_image(image: np.ndarray, path: Path, info: dict[str, Any]) -> None:
    """Writes [C, H, W] as a PNG; if no PNG can hold it, as .npy and as a PNG of 8 bits for viewing.

    Args:
        image: Image, uint8 or uint16 [C, H, W].
        path: The PNG.
        info: Text chunks of the PNG.
    """
    if fits_png(image):
        save_png(image, path, info)
        return
    save_npy(image, path.with_suffix('.npy'))
    save_png(shown(to_8_bits(image)), path, info)


def make_outdir(name: str) -> Path:
    """Returns the folder of --outdir, created if need be."""
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--outdir={name}: cannot be made: {error.strerror}') from None
    return path
