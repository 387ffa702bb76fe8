"""Draw images with a network snapshot: one file a seed, or one grid."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dnnlib.errors import ConfigError, run_command

if TYPE_CHECKING:  # the real imports stand in the functions that need them: --help must answer at once
    import numpy as np
    import torch

MAX_SEED = 2**32 - 1  # of NumPy's RandomState


@click.command(
    context_settings={
        'help_option_names': ['-h', '--help'],
        'max_content_width': 110,
        'token_normalize_func': lambda token: token.replace('_', '-'),
    }
)
@click.option(
    '--network',
    help='Snapshot to draw with, or an official .pkl: a path or an http(s) address.',
    required=True,
    metavar='FILE|URL',
)
@click.option('--seeds', help='Seeds, e.g. 0,3,8-15.  [default: as many as the grid holds, from 0]')
@click.option('--trunc', 'truncation_psi', help='Truncation psi.', type=float, default=1, show_default=True)
@click.option('--class', 'class_idx', help='Class label; needed by conditional networks.', type=int)
@click.option('--noise-mode', type=click.Choice(['const', 'random', 'none']), default='const', show_default=True)
@click.option('--recalibrate', help='Measure batch-norm statistics anew, at this truncation and class.', is_flag=True)
@click.option('--projected-w', help="Draw a projector's styles, w in an .npz, instead of seeds.", metavar='FILE')
@click.option('--grid', help='One PNG of COLUMNSxROWS images instead of one PNG a seed.', metavar='CxR')
@click.option('--outdir', help='Where the PNGs go.', default='out', show_default=True, metavar='DIR')
@click.option('--batch', help='Images drawn at a time.', type=click.IntRange(1), default=8, show_default=True)
@click.option('--precision', type=click.Choice(['auto', 'fp32', 'bf16', 'fp16']), default='fp32', show_default=True)
@click.option('--plugin', help='Python file that registers the --cfg of the snapshot.', multiple=True, metavar='FILE')
@click.option('--device', help='cpu, cuda or mps.  [default: what is there]')
def main(**options: Any) -> None:
    """Draw images with a network snapshot.

    \b
    python generate.py --network=runs/00000-peeps64-squeeze/network-snapshot-000200.safetensors --seeds=0-15
    python generate.py --network=... --grid=8x8 --trunc=0.7

    Networks of 16-bit colour, or of more than four channels, draw a .npy file [height, width, channels] a seed, and
    beside it a PNG of 8 bits to look at, of more than four channels the first three.
    """
    from dnnlib.download import fetch
    from dnnlib.files import sha256_of
    from dnnlib.registry import load_file
    from torch_utils.devices import pick_device
    from torch_utils.images import save_png, shown, tile
    from training.build import resolve_precision
    from training.data.stored_image import to_8_bits
    from training.run.snapshot import load_generator, load_snapshot

    grid = parse_grid(options['grid']) if options['grid'] else None
    seeds = [] if options['projected_w'] else chosen_seeds(options['seeds'], grid)
    for path in options['plugin']:
        load_file(path)
    device = pick_device(options['device'], kinds=('cpu', 'cuda', 'mps'))
    path = fetch(options['network'])
    snapshot = load_snapshot(path)
    G = load_generator(snapshot, device, resolve_precision(options['precision'], device))
    _, spec = snapshot.config()
    info = {'network': path.name, 'network_sha256': sha256_of(path), 'nimg': snapshot.nimg}
    info |= {key: options[key] for key in ('truncation_psi', 'class_idx', 'noise_mode', 'precision', 'recalibrate')}
    if options['projected_w']:
        images = draw_styles(G, read_styles(options, G), options, spec.bits).numpy()  # [N, C, H, W]
        names = {f'proj{index:02d}': {'projected_w': options['projected_w']} for index in range(len(images))}
    else:
        label = class_label(G.c_dim, options['class_idx'])  # [1, c_dim]
        if options['recalibrate']:
            measure_batch_norm(G, label, options)
        images = draw(G, seeds, label, options, spec.bits).numpy()  # [N, C, H, W]
        names = {f'seed{seed:04d}': {'seed': seed} for seed in seeds}

    outdir = make_outdir(options['outdir'])
    if grid is not None:
        target = outdir / 'grid.png'
        save_png(tile(shown(to_8_bits(images)), grid[0]), target, {**info, 'seeds': seeds})
        click.echo(f'{target}: {len(images)} images')
        return
    for (name, origin), image in zip(names.items(), images, strict=True):
        save_image(image, outdir / f'{name}.png', {**info, **origin})
    click.echo(f'{outdir}: {len(images)} images')


def parse_seeds(text: str) -> list[int]:
    """'0,3,8-11' -> [0, 3, 8, 9, 10, 11]."""
    seeds: list[int] = []
    for part in text.split(','):
        match = re.fullmatch(r'\s*(\d+)(?:\s*-\s*(\d+))?\s*', part)
        if match is None:
            raise ConfigError(f'--seeds={text}: expected numbers and ranges such as 0,3,8-15')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > MAX_SEED:
            raise ConfigError(f'--seeds={text}: a range goes up, and a seed lies in 0 to {MAX_SEED}')
        seeds += range(first, last + 1)
    return seeds


def parse_grid(text: str) -> tuple[int, int]:
    """'8x4' -> (8, 4), columns and rows."""
    match = re.fullmatch(r'([1-9]\d{0,3})x([1-9]\d{0,3})', text)
    if match is None:
        raise ConfigError(f'--grid={text}: expected COLUMNSxROWS, such as 8x8')
    return int(match[1]), int(match[2])


def chosen_seeds(text: str | None, grid: tuple[int, int] | None) -> list[int]:
    """--seeds; a grid without them takes 0, 1, 2, ..., a grid with them must have a place for each."""
    if text is None:
        if grid is None:
            raise ConfigError('--seeds is needed, for instance --seeds=0-15; or ask for a sheet with --grid=8x8')
        return list(range(grid[0] * grid[1]))
    seeds = parse_seeds(text)
    if grid is not None and len(seeds) > grid[0] * grid[1]:
        raise ConfigError(f'--grid={grid[0]}x{grid[1]} has fewer places than the {len(seeds)} --seeds; enlarge it')
    return seeds


def class_label(c_dim: int, class_idx: int | None) -> torch.Tensor:
    """One-hot label [1, c_dim]."""
    import torch

    if c_dim > 0 and class_idx is None:
        raise ConfigError(f'--class is needed: this network is conditional, on classes 0 to {c_dim - 1}')
    if c_dim == 0 and class_idx is not None:
        click.echo(f'note: --class={class_idx} is ignored, this network is unconditional', err=True)
        return torch.zeros([1, 0])
    if class_idx is not None and not 0 <= class_idx < c_dim:
        raise ConfigError(f'--class={class_idx}: this network knows classes 0 to {c_dim - 1}')
    label = torch.zeros([1, c_dim])
    if class_idx is not None:
        label[0, class_idx] = 1
    return label


def measure_batch_norm(G: torch.nn.Module, label: torch.Tensor, options: dict[str, Any]) -> None:
    """--recalibrate: the running statistics of training are those of untruncated latents of all classes."""
    import torch

    from torch_utils.seeding import seed_torch
    from training.optimize.recalibrate import BATCHES, batch_norms, recalibrate

    if not batch_norms(G):
        raise ConfigError('--recalibrate: this network has no batch normalisation; drop the flag')
    device = next(G.parameters()).device
    seed_torch(0, 'recalibration')
    z = torch.randn([BATCHES, 32, G.z_dim], device=device)  # [batches, N, z_dim]
    latents = ((batch, label.to(device).expand(len(batch), -1)) for batch in z)
    recalibrate(G, latents, options['truncation_psi'])


def draw(
    G: torch.nn.Module, seeds: list[int], label: torch.Tensor, options: dict[str, Any], bits: int = 8
) -> torch.Tensor:
    """uint8 or uint16 [N, C, H, W] on the CPU. A seed means StyleGAN2-ADA's z: RandomState(seed).randn(1, z_dim)."""
    import numpy as np
    import torch

    from torch_utils.images import to_uint8, to_uint16
    from torch_utils.seeding import seed_torch

    device = next(G.parameters()).device
    images = []
    # Random noise is drawn for a whole batch: one image at a time keeps each a function of its own seed.
    batch = 1 if options['noise_mode'] == 'random' else options['batch']
    for start in range(0, len(seeds), batch):
        part = seeds[start : start + batch]
        latents = np.concatenate([np.random.RandomState(seed).randn(1, G.z_dim) for seed in part])
        z = torch.from_numpy(latents.astype(np.float32)).to(device)  # [N, z_dim]
        c = label.to(device).expand(len(part), -1)  # [N, c_dim]
        seed_torch(part[0], 'generate')
        with torch.no_grad():
            img = G(z, c, truncation_psi=options['truncation_psi'], noise_mode=options['noise_mode'])  # [N, C, H, W]
        images.append((to_uint8 if bits == 8 else to_uint16)(img.cpu()))
    return torch.cat(images)


def read_styles(options: dict[str, Any], G: torch.nn.Module) -> torch.Tensor:
    """The styles of --projected-w, float32 [N, num_ws, w_dim] on the CPU; what has no part in them is told."""
    import zipfile

    import numpy as np
    import torch

    from training.interface import StyleGenerator

    name = options['projected_w']
    if not isinstance(G, StyleGenerator):
        raise ConfigError(f'--projected-w={name}: this network has no W space to take styles from; use --seeds')
    try:
        with np.load(name, allow_pickle=False) as file:
            ws = file['w']
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f'--projected-w={name}: expected an .npz with an array "w" ({error})') from None
    if ws.shape[1:] != (G.num_ws, G.w_dim) or ws.dtype.kind != 'f':
        shape = f'[N, {G.num_ws}, {G.w_dim}]'
        raise ConfigError(f'--projected-w={name}: w is {ws.dtype} {list(ws.shape)}; this network takes floats {shape}')
    ignored = [flag for flag, key in (('--seeds', 'seeds'), ('--class', 'class_idx')) if options[key] is not None]
    ignored += ['--trunc'] * (options['truncation_psi'] != 1)
    if ignored:
        click.echo(f'note: {", ".join(ignored)} ignored: the styles of --projected-w are final', err=True)
    return torch.from_numpy(ws.astype(np.float32))


def draw_styles(G: Any, ws: torch.Tensor, options: dict[str, Any], bits: int = 8) -> torch.Tensor:
    """ws [N, num_ws, w_dim] -> uint8 or uint16 [N, C, H, W] on the CPU."""
    import torch

    from torch_utils.images import to_uint8, to_uint16
    from torch_utils.seeding import seed_torch

    device = next(G.parameters()).device
    images = []
    for index, part in enumerate(ws.split(1 if options['noise_mode'] == 'random' else options['batch'])):
        seed_torch(index, 'generate')
        with torch.no_grad():
            img = G.synthesis(part.to(device), noise_mode=options['noise_mode'])  # [N, C, H, W]
        images.append((to_uint8 if bits == 8 else to_uint16)(img.cpu()))
    return torch.cat(images)


def save_image(image: np.ndarray, path: Path, info: dict[str, Any]) -> None:
    """Writes uint8 or uint16 [C, H, W] as a PNG; where no PNG holds it, as .npy and a PNG of 8 bits to look at."""
    from torch_utils.images import fits_png, save_npy, save_png, shown
    from training.data.stored_image import to_8_bits

    if fits_png(image):
        save_png(image, path, info)
        return
    save_npy(image, path.with_suffix('.npy'))
    save_png(shown(to_8_bits(image)), path, info)


def make_outdir(name: str) -> Path:
    """The folder, made if need be."""
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--outdir={name}: cannot be made: {error.strerror}') from None
    return path


if __name__ == '__main__':
    run_command(main)
