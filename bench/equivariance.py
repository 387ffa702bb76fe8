"""Equivariance to translation of trained networks: StyleGAN3 by its own input, StyleGAN2 by its constant and noise.

    python bench/equivariance.py --network=T.safetensors --network=SG2.safetensors --images=1000 --sheet=sheet.png

EQ-T compares the images of a moved input with moved images. StyleGAN3's input takes a transform. StyleGAN2's does not,
and the metric refuses it; the paper gives no number for it. Its input has a position nevertheless: the constant is a
map of 4x4, and the noise maps are images. Here both move by the same share of the image. There are several ways to move
a map of 4x4 by parts of its samples, and none is right; all are measured, with the noise maps moved and without noise,
and the largest number is the one that a comparison owes StyleGAN2.

Letters: N images, C channels, h and w height and width of a map, t shares of width and height.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from metrics.equivariance import errors, psnr, shift_by_parts, shift_by_pixels
from metrics.streams.moves import BATCH
from torch_utils.images import save_png, tile, to_uint8
from torch_utils.seeding import numpy_generator
from training.interface import ImageSpec, MovableGenerator
from training.run.moved_sampling import generated_moves
from training.run.snapshot import load_generator, load_snapshot

REACH = 3  # half the width of the interpolation filter, in samples
QUARTERS = [(x / 4, y / 4) for x, y in itertools.product((-1, 0, 1), repeat=2) if (x, y) != (0, 0)]
SHIFT = (0.125, -0.0625)  # t of the sheet
NUM_SHOWN = 4
STILL = 'the input as it is'


def wrapped(x: torch.Tensor, t_x: float, t_y: float) -> torch.Tensor:
    """Moves a periodic map; the result is exact at every frequency of the map.

    Args:
        x: [N, C, h, w].
        t_x: Share of the width, to the right.
        t_y: Share of the height, down.
    """
    turns = [torch.fft.fftfreq(n, 1 / n) * t for n, t in zip(x.shape[2:], (t_y, t_x), strict=True)]
    phase = torch.exp(-2j * math.pi * (turns[0][:, None] + turns[1]))
    return torch.fft.ifft2(torch.fft.fft2(x.double()) * phase).real.to(x.dtype)


def extended(x: torch.Tensor, t_x: float, t_y: float) -> torch.Tensor:
    """Moves a map whose borders continue, by the six taps of EQ-T_frac. Arguments: `wrapped`."""
    height, width = x.shape[2:]
    pad_x, pad_y = (REACH + math.ceil(abs(t) * n) for t, n in ((t_x, width), (t_y, height)))
    wide = F.pad(x, [pad_x, pad_x, pad_y, pad_y], mode='replicate')
    moved, _ = shift_by_parts(wide, t_x * width / wide.shape[3], t_y * height / wide.shape[2])
    return moved[:, :, pad_y : pad_y + height, pad_x : pad_x + width]


def linear(x: torch.Tensor, t_x: float, t_y: float) -> torch.Tensor:
    """Moves a map whose borders continue, by interpolation between neighbors. Arguments: `wrapped`."""
    theta = torch.tensor([[[1.0, 0, -2 * t_x], [0, 1, -2 * t_y]]])
    grid = F.affine_grid(theta, [1, 1, *x.shape[2:]], align_corners=False)
    return F.grid_sample(x, grid.expand(len(x), -1, -1, -1), padding_mode='border', align_corners=False)


WAYS = {'periodic': wrapped, 'borders continue, Lanczos': extended, 'borders continue, linear': linear}


class MovedMaps(torch.nn.Module):
    """StyleGAN2's generator with a constant and noise maps that move, see `training.interface.MovableGenerator`.

    Args:
        network: The generator.
        spec: Facts of its images.
        way: A key of `WAYS`, or STILL: nothing moves.
        noise: Whether there is noise.
    """

    def __init__(self, network: torch.nn.Module, spec: ImageSpec, way: str, noise: bool) -> None:
        super().__init__()
        self.network = network
        self.spec, self.way, self.noise_mode = spec, way, 'const' if noise else 'none'
        self.z_dim, self.c_dim = network.z_dim, network.c_dim
        self.img_resolution, self.img_channels = network.img_resolution, network.img_channels
        self.t = (0.0, 0.0)

    def set_transform(self, matrix: torch.Tensor) -> None:
        """Moves all images from now on by a translation [3, 3]; the identity is none."""
        assert torch.equal(matrix[:2, :2], torch.eye(2, dtype=matrix.dtype)), 'a map on a grid does not turn'
        x, y = (matrix[:2, 2] * self.spec.resolution).tolist()
        self.t = (x / self.spec.width, y / self.spec.height)

    def forward(
        self, z: torch.Tensor, c: torch.Tensor, *, truncation_psi: float = 1, noise_mode: str = 'const'
    ) -> torch.Tensor:
        assert noise_mode == 'const', 'random noise has no position'
        options = {'truncation_psi': truncation_psi, 'noise_mode': self.noise_mode}
        return torch.func.functional_call(self.network, self._moved(), (z, c), options)

    def _moved(self) -> dict[str, torch.Tensor]:
        """Returns the moved constant and noise maps by their names; nothing if the images do not move."""
        if self.t == (0, 0) or self.way == STILL:
            return {}
        tensors = dict(itertools.chain(self.network.named_parameters(), self.network.named_buffers()))
        maps = {name: t for name, t in tensors.items() if name.split('.')[-1] in ('const', 'noise_const')}
        return {name: WAYS[self.way](m.view(1, -1, *m.shape[-2:]), *self.t).view_as(m) for name, m in maps.items()}


def movable_forms(network: torch.nn.Module, spec: ImageSpec) -> dict[str, MovableGenerator]:
    """Returns the generators to measure: the network if it takes a transform, otherwise it with moved maps, by name."""
    if isinstance(network, MovableGenerator):
        return {'transform of the input': network}
    if not any(name.endswith('.const') for name, _ in network.named_parameters()):
        raise ConfigError(f'{type(network).__name__} has neither a transform of its input nor a constant')
    return {
        f'{way}, {"noise" if noise else "no noise"}': MovedMaps(network, spec, way, noise)
        for way in (*WAYS, STILL)
        for noise in (True, False)
    }


def quarter_moves(G: MovableGenerator, num_images: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yields images as `generated_moves` does, moved by a quarter of the image: a whole sample of a map of 4x4.

    Args:
        G: The generator, without labels.
        num_images: Number of images.
    """
    for index, t in zip(range(num_images // BATCH), itertools.cycle(QUARTERS), strict=False):
        z = torch.from_numpy(numpy_generator(0, 'motion', index).standard_normal([BATCH, G.z_dim])).float()
        yield moved_pair(G, z, t), torch.tensor(t)


@torch.no_grad()
def moved_pair(G: MovableGenerator, z: torch.Tensor, t: tuple[float, float]) -> torch.Tensor:
    """Returns the images of z [N, z_dim] of the still and of the moved input, [N, 2, C, H, W]; square images only."""
    images = []
    for x, y in ((0.0, 0.0), t):
        G.set_transform(torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=torch.float64))
        images.append(G(z, z.new_zeros([len(z), 0]), noise_mode='const'))
    return torch.stack(images, dim=1)


def decibels(moves: Iterator[tuple[torch.Tensor, torch.Tensor]], motion: str) -> tuple[float, float]:
    """Returns the ratio of `metrics.kinds.equivariance` over all images, and its standard error over batches, in dB.

    Args:
        moves: Images and motions, as `generated_moves` yields them.
        motion: Kind of the motions, as in `metrics.equivariance.errors`.
    """
    sums = torch.stack([errors(motion, pair[:, 0], pair[:, 1], by).sum(dim=0) for pair, by in moves])  # [batches, 2]
    squares, weights = sums.sum(dim=0).tolist()
    scatter = (sums[:, 0] - squares / weights * sums[:, 1]).std() * math.sqrt(len(sums)) / squares
    return psnr(squares, weights), 10 / math.log(10) * float(scatter)


def draw_sheet(forms: dict[str, MovableGenerator], path: Path) -> None:
    """Writes a sheet: per form the still images, the images of the moved input, moved images, and 4 |difference|.

    Args:
        forms: Generators by name.
        path: The PNG.
    """
    rows = []
    for G in forms.values():
        z = torch.from_numpy(numpy_generator(0, 'sheet').standard_normal([NUM_SHOWN, G.z_dim])).float()
        still, moved = moved_pair(G, z, SHIFT).unbind(dim=1)
        wanted, mask = shift_by_pixels(still, *SHIFT)
        rows += [still, moved, wanted, (4 * (moved - wanted).abs() * mask).clamp(max=2) - 1]
    images = torch.stack(rows, dim=1).flatten(0, 1)  # one line of the sheet per latent
    sheet = tile(to_uint8(images).numpy(), columns=len(rows))
    save_png(sheet.repeat(2, axis=1).repeat(2, axis=2), path)


@click.command()
@click.option('--network', 'paths', multiple=True, required=True, type=Path, help='Snapshot; may be repeated.')
@click.option('--images', type=int, default=1000, show_default=True, help=f'Number of images, a multiple of {BATCH}.')
@click.option('--sheet', type=Path, help='PNG of still and moved images: the first form of every network.')
def main(paths: tuple[Path, ...], images: int, sheet: Path | None) -> None:
    """Prints EQ-T and EQ-T_frac of every form of every network, and the ratio for moves by a quarter of the image."""
    if images % BATCH or images < 2 * BATCH:  # the standard errors need two batches
        raise click.BadParameter(
            f'{images}: expected a multiple of {BATCH}, at least {2 * BATCH}', param_hint='--images'
        )
    print('| network | the input moves by | EQ-T | EQ-T_frac | by 1/4 |\n|---|---|---|---|---|')
    shown: dict[str, MovableGenerator] = {}
    for path in paths:
        snapshot = load_snapshot(path)
        cfg, spec = snapshot.config()
        forms = movable_forms(load_generator(snapshot, torch.device('cpu'), 'fp32'), spec)
        shown[str(path)] = next(iter(forms.values()))
        for name, G in forms.items():
            options = {'num_images': images, 'seed': 0, 'batch_size': BATCH}
            parts = [range(i, i + BATCH) for i in range(0, images, BATCH)]
            cells = [decibels(generated_moves(G, None, spec, motion=m, **options)(parts), m) for m in ('whole', 'part')]
            cells.append(decibels(quarter_moves(G, images), 'whole'))
            texts = ' | '.join(f'{value:.2f} ± {error:.2f}' for value, error in cells)
            print(f'| {cfg.cfg} | {name} | {texts} |', flush=True)
    if sheet is not None:
        draw_sheet(shown, sheet)


if __name__ == '__main__':
    run_command(main)
