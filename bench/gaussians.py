"""Eight Gaussians on a circle: a generator of fully connected layers, and the same generator with GConv.

    python bench/gaussians.py --seeds=5 --iterations=3000 --out=gaussians.png

The experiment of Fig. 4 of Park and Shin (arXiv 2111.15171), who give no settings. These are the ones of their images
(z of 32 numbers, hinge loss, 5 steps of D for one of G, Adam at 2e-4 with betas 0 and 0.9, spectral normalisation in
D), at two widths of the Gaussians. They were chosen after others had been tried, so this shows what happens here and
is no evidence for the paper. GConv's generator has 3.6 times the parameters.

Letters: N batch.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.files import atomic_path
from extensions.layers.gconv import GConv2d, VConv2d, xavier_
from extensions.layers.spectral_norm import Linear
from torch_utils.summary import count
from training.objective.losses import Hinge

NUM_MODES, RADIUS = 8, 2.0
STDS = (0.1, 0.05)  # standard deviation of the Gaussians
NETWORKS = ('fully connected', 'GConv')
Z_DIM, WIDTH, DEPTH = 32, 128, 3  # DEPTH hidden layers
BATCH, N_CRITIC, LR, BETAS = 128, 5, 2e-4, (0.0, 0.9)
SAMPLES = 10_000  # samples per measurement
SHOWN = 1_000  # samples in the picture
PANEL, GAP, LEFT, TOP = 120, 4, 150, 44  # pixels


class Generator(torch.nn.Module):
    """z [N, Z_DIM] -> points [N, 2]: layers with ReLU between them. A fully connected layer is a 1x1 convolution."""

    def __init__(self, network: str) -> None:
        super().__init__()
        layer = partial(GConv2d, v_dim=Z_DIM) if network == 'GConv' else VConv2d
        widths = [Z_DIM, *[WIDTH] * DEPTH, 2]
        self.layers = torch.nn.ModuleList(layer(i, o, 1) for i, o in itertools.pairwise(widths))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = z[:, :, None, None]  # [N, Z_DIM, 1, 1]
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x, z))  # [N, WIDTH, 1, 1]
        return self.layers[-1](x, z).flatten(1)


def make_discriminator() -> torch.nn.Module:
    """Points [N, 2] -> logits [N, 1]."""
    widths = [2, *[WIDTH] * DEPTH, 1]
    layers: list[torch.nn.Module] = []
    for i, o in itertools.pairwise(widths):
        layers += [Linear(i, o, sn=True), torch.nn.ReLU()]
    D = torch.nn.Sequential(*layers[:-1])
    xavier_(D)
    return D


def centres() -> torch.Tensor:
    """Returns the modes, [8, 2]."""
    angles = torch.arange(NUM_MODES) * (2 * math.pi / NUM_MODES)
    return RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)


def draw_real(n: int, std: float) -> torch.Tensor:
    """Samples of the mixture, [n, 2]."""
    return centres()[torch.randint(NUM_MODES, [n])] + torch.randn(n, 2) * std


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A run at one iteration."""

    std: float
    network: str
    seed: int
    iteration: int
    modes: int  # modes with at least 1 % of the samples within three standard deviations
    share: float  # fraction of samples within three standard deviations of any mode
    points: list[tuple[float, float]]


@torch.no_grad()
def measure(G: Generator, std: float, network: str, seed: int, iteration: int) -> Result:
    """Draws samples by a generator of their own, so that training does not notice."""
    z = torch.randn(SAMPLES, Z_DIM, generator=torch.Generator().manual_seed(seed))
    points = G(z)  # [SAMPLES, 2]
    distance, nearest = torch.cdist(points, centres()).min(dim=1)  # [SAMPLES]
    held = torch.bincount(nearest[distance <= 3 * std], minlength=NUM_MODES)  # [8]
    return Result(
        std=std,
        network=network,
        seed=seed,
        iteration=iteration,
        modes=int((held >= SAMPLES // 100).sum()),
        share=int(held.sum()) / SAMPLES,
        points=[(x, y) for x, y in points[:SHOWN].tolist()],
    )


def train(std: float, network: str, seed: int, checks: tuple[int, ...]) -> list[Result]:
    """Trains one run and measures it after every iteration in `checks`."""
    torch.manual_seed(seed)
    G, D, loss = Generator(network), make_discriminator(), Hinge()
    adam = partial(torch.optim.Adam, lr=LR, betas=BETAS, fused=True)
    opt_G, opt_D = adam(G.parameters()), adam(D.parameters())
    results = []
    for iteration in range(1, checks[-1] + 1):
        D.requires_grad_(True)
        for _ in range(N_CRITIC):
            with torch.no_grad():
                fake = G(torch.randn(BATCH, Z_DIM))
            fake_logits, real_logits = D(torch.cat([fake, draw_real(BATCH, std)])).chunk(2)  # [N, 1] each
            opt_D.zero_grad()
            (loss.discriminator_fake(fake_logits) + loss.discriminator_real(real_logits)).mean().backward()
            opt_D.step()
        D.requires_grad_(False)
        opt_G.zero_grad()
        loss.generator(D(G(torch.randn(BATCH, Z_DIM)))).mean().backward()
        opt_G.step()
        if iteration in checks:
            results.append(measure(G, std, network, seed, iteration))
    return results


def table(results: list[Result], command: str) -> str:
    """Returns the results in Markdown, one row per setting, network and iteration, with seeds side by side."""
    seeds = sorted({r.seed for r in results})
    sizes = ', '.join(f'{network} {count(Generator(network))[0]:,}' for network in NETWORKS)
    lines = [
        '# Eight Gaussians: fully connected layers and GConv',
        '',
        f'`{command}`, torch {torch.__version__}, CPU, one thread. Parameters of the generator: {sizes}.',
        '',
        'Modes found, of 8 (at least 1 % of 10,000 samples within three standard deviations), and the share of the',
        f'samples that lie so near to any mode, for seeds {", ".join(map(str, seeds))}. The settings were chosen after',
        'others had been tried: this is what happened here, and no evidence beyond it.',
        '',
        '| standard deviation | iteration | generator | modes | share in a mode | mean share |',
        '|---|---|---|---|---|---|',
    ]
    for std, iteration, network in sorted({(-r.std, r.iteration, r.network) for r in results}, key=_row_order):
        row = [r for r in results if (r.std, r.iteration, r.network) == (-std, iteration, network)]
        modes, shares = [str(r.modes) for r in row], [f'{r.share:.2f}' for r in row]
        mean = sum(r.share for r in row) / len(row)
        lines.append(f'| {-std:g} | {iteration} | {network} | {", ".join(modes)} | {", ".join(shares)} | {mean:.2f} |')
    return '\n'.join(lines) + '\n'


def _row_order(key: tuple[float, int, str]) -> tuple[float, int, int]:
    return key[0], key[1], NETWORKS.index(key[2])


def draw_picture(results: list[Result], path: Path) -> None:
    """Draws one row per setting and network, one column per iteration and seed: samples over the modes' circles."""
    rows = [(std, network) for std in STDS for network in NETWORKS]
    columns = sorted({(r.iteration, r.seed) for r in results})
    step = PANEL + GAP
    picture = Image.new('RGB', (LEFT + step * len(columns), TOP + step * len(rows)), 'white')
    canvas, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for j, (iteration, seed) in enumerate(columns):
        x = LEFT + j * step + PANEL / 2
        canvas.text((x, TOP / 2), f'iteration {iteration}\nseed {seed}', 'black', font, 'mm', align='center')
    for i, (std, network) in enumerate(rows):
        y = TOP + i * step + PANEL / 2
        canvas.text((LEFT / 2, y), f'{network}\nstd {std:g}', 'black', font, 'mm', align='center')
    for r in results:
        i, j = rows.index((r.std, r.network)), columns.index((r.iteration, r.seed))
        picture.paste(draw_panel(r), (LEFT + j * step, TOP + i * step))
    with atomic_path(path) as tmp:
        # A fifth of the bytes; this palette keeps the few red pixels, the default one does not.
        picture.quantize(64, method=Image.Quantize.MAXCOVERAGE).save(tmp, format='PNG', optimize=True)


def draw_panel(result: Result) -> Image.Image:
    """Draws the plane from -3 to 3 at three times the size and averages it down."""
    size = 3 * PANEL
    panel = Image.new('RGB', (size, size), '#f4f4f4')
    canvas = ImageDraw.Draw(panel)

    def place(x: float, y: float) -> tuple[float, float]:
        return (x / 6 + 0.5) * size, (0.5 - y / 6) * size

    for cx, cy in centres().tolist():
        x, y = place(cx, cy)
        r = 3 * result.std / 6 * size
        canvas.ellipse([x - r, y - r, x + r, y + r], outline='#cf222e', width=2)
    for point in result.points:
        x, y = place(*point)
        canvas.ellipse([x - 2, y - 2, x + 2, y + 2], fill='#1f6feb')
    return panel.resize((PANEL, PANEL), Image.Resampling.LANCZOS)


@click.command()
@click.option('--seeds', default=5, show_default=True, help='Runs of every setting, seeds 0, 1, ...')
@click.option('--iterations', default=3000, show_default=True, help='Steps of G; measured at a fifth and at the end.')
@click.option('--out', default='gaussians.png', show_default=True, type=click.Path(path_type=Path), help='The picture.')
@click.option('--table', 'table_path', type=click.Path(path_type=Path), help='The table  [default: beside the picture]')
def main(seeds: int, iterations: int, out: Path, table_path: Path | None) -> None:
    """Trains both generators at both settings, prints a table, writes it and a picture."""
    torch.set_num_threads(1)
    results = []
    for std in STDS:
        for network in NETWORKS:
            for seed in range(seeds):
                start = time.perf_counter()
                results += train(std, network, seed, (max(iterations // 5, 1), iterations))
                last = results[-1]
                told = f'{last.modes} modes, {last.share:.2f} in a mode, {time.perf_counter() - start:.0f} s'
                print(f'std {std:g}, {network}, seed {seed}: {told}', flush=True)
    text = table(results, f'python bench/gaussians.py --seeds={seeds} --iterations={iterations}')
    print(text)
    draw_picture(results, out)
    with atomic_path(table_path or out.with_suffix('.md')) as tmp:
        Path(tmp).write_text(text)


if __name__ == '__main__':
    run_command(main)
