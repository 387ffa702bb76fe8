"""Milliseconds of two exact rewrites, each compared with its plain form: squeeze's blend, one product for all styles.

    python bench/rewrites.py --threads=2 --batch=8

Forward with backward, channels last. The forms take turns, so that a disturbance affects all of them. A ratio is the
plain time over that of the other form: above 1, the rewrite is faster.

Blend, in every block of squeeze that has one, from the styles on. "concat" makes the tensor [f_i, f_e], "split" adds
two convolutions, "kernels" adds two products with kernels built for every sample. "MiB" is the memory that a form keeps
for the backward pass beyond its inputs. "rule" is the choice of `modulated_conv2d` for a list.

Styles: every linear layer by itself, or their weights concatenated, multiplied once and the result split. In StyleGAN2
and squeeze this requires that all layers have the same w: style mixing, the gradient of path length in the ws, and w+
projection give every layer a w of its own, and there the single product is another function.

Letters: C channels of a block, H height and width.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from extensions.gconv import GConvConfig, GConvGenerator
from extensions.layers.batch_norm import BigBN
from extensions.layers.gconv import GConv2d
from extensions.squeeze import SqueezeBlock, SqueezeConfig, SqueezeGenerator
from torch_utils.allocator import keep_freed_memory
from torch_utils.ops.modulated_conv2d import modulated_conv2d, prefers_kernels
from training.interface import ImageSpec
from training.networks.config import StyleGAN2GeneratorConfig
from training.networks.layers import LRELU_GAIN, FullyConnected
from training.networks.stylegan2 import StyleGAN2Generator
from training.networks.synthesis import SynthesisLayer

W_DIM = 512
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
BASES = {32: 32768, 256: 16384}  # channel_base of the papers' networks

Form = Callable[[], torch.Tensor]


def network(resolution: int, make: Callable[[ImageSpec], torch.nn.Module]) -> torch.nn.Module:
    """Returns a network without memory, of which only the shapes are read."""
    with torch.device('meta'):
        return make(ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1))


def squeeze(resolution: int) -> torch.nn.Module:
    """Returns Table I's squeeze generator."""
    return network(resolution, lambda spec: SqueezeGenerator(SqueezeConfig(channel_base=BASES[resolution]), spec))


def stylegan2(resolution: int) -> torch.nn.Module:
    """Returns the generator that it is compared with."""
    cfg = StyleGAN2GeneratorConfig(channel_base=BASES[resolution])
    return network(resolution, lambda spec: StyleGAN2Generator(cfg, spec))


def blends(resolution: int) -> list[tuple[int, int]]:
    """Returns (C, H) of every block with a blend."""
    blocks = [block for block in squeeze(resolution).modules() if isinstance(block, SqueezeBlock)]
    return [(b.blend.weight.shape[0], b.blend.noise_const.shape[0]) for b in blocks if b.blend is not None]


def affine_shapes(G: torch.nn.Module) -> list[tuple[int, int]]:
    """Returns [O, I] of the layers between the ws and the styles."""
    named = [m for name, m in G.named_modules() if name.endswith('.affine')]
    return [tuple(m.weight.shape) for m in named if isinstance(m, FullyConnected)]


def gconv_shapes() -> list[tuple[int, int]]:
    """Returns [O, V] of the layers that read v only: BigBN's gains and shifts, and the columns of W_s for v."""
    cfg = GConvConfig(channel_max=256)
    G = network(32, lambda spec: GConvGenerator(cfg, spec))
    shapes: list[tuple[int, int]] = []
    for module in G.modules():
        if isinstance(module, BigBN):
            shapes += [tuple(module.gain.weight.shape), tuple(module.shift.weight.shape)]
        elif isinstance(module, GConv2d):
            shapes.append((module.select.weight.shape[0], cfg.z_dim))
    return shapes


def blend_forms(c: int, h: int, dtype: torch.dtype, batch: int) -> tuple[dict[str, Form], list[torch.Tensor]]:
    """Returns the forms of a blend and the tensors that they are differentiated by.

    Args:
        c: Channels of the block.
        h: Height and width.
        dtype: Dtype of the features.
        batch: Batch size.
    """
    layer = SynthesisLayer(2 * c, c, w_dim=W_DIM, size=(h, h), kernel_size=1)
    noise, act = layer.noise_const, {'act': 'lrelu', 'gain': LRELU_GAIN}
    x = [torch.randn(batch, c, h, h).to(dtype=dtype, memory_format=torch.channels_last) for _ in range(2)]
    styles = (torch.randn(batch, 2 * c) + 1).requires_grad_()

    def blend(features: torch.Tensor | list[torch.Tensor], by_sample: bool) -> torch.Tensor:
        return modulated_conv2d(features, layer.weight, styles, noise, bias=layer.bias, by_sample=by_sample, **act)

    forms: dict[str, Form] = {
        'concat': lambda: blend(torch.cat(x, dim=1), by_sample=False),
        'split': lambda: blend(x, by_sample=False),
        'kernels': lambda: blend(x, by_sample=True),
    }
    return forms, [*(part.requires_grad_() for part in x), styles, layer.weight, layer.bias]


def rule_of(c: int, h: int) -> str:
    """Returns the choice of `by_sample=None`."""
    with torch.device('meta'):
        return 'kernels' if prefers_kernels(torch.empty(1, c, h, h), torch.empty(c, 2 * c, 1, 1)) else 'split'


def style_forms(shapes: list[tuple[int, int]], batch: int) -> tuple[dict[str, Form], list[torch.Tensor]]:
    """Returns separate layers and one product; both end in one tensor, to be differentiated in the same way."""
    v = torch.randn(batch, shapes[0][1], requires_grad=True)
    weights = [torch.randn(o, i, requires_grad=True) for o, i in shapes]
    sizes = [o for o, _ in shapes]
    factors = torch.randn(sum(sizes)).split(sizes)  # each layer's result is used separately

    def used(styles: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([(s * f).sum() for s, f in zip(styles, factors, strict=True)])

    forms: dict[str, Form] = {
        'separate': lambda: used([F.linear(v, weight) for weight in weights]),
        'one': lambda: used(list(F.linear(v, torch.cat(weights)).split(sizes, dim=1))),
    }
    return forms, [v, *weights]


def measure(forms: dict[str, Form], inputs: list[torch.Tensor], repeat: int) -> list[float]:
    """Measures all forms in turn, forward with backward, after one call of each to warm up.

    Args:
        forms: Functions by name.
        inputs: Tensors to differentiate by.
        repeat: Number of calls.

    Returns:
        Median milliseconds of each form.
    """
    dy = {name: torch.randn_like(form()) for name, form in forms.items()}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeat + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            torch.autograd.grad(form(), inputs, dy[name])
            times[name].append((time.perf_counter() - start) * 1e3)
    return [statistics.median(t[1:]) for t in times.values()]


def kept(form: Form, inputs: list[torch.Tensor]) -> float:
    """Returns the MiB that the graph holds beyond the inputs, every storage once."""
    storages = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = form()  # kept alive until here, so that no address is reused
    for t in [y, *inputs]:
        storages.pop(t.untyped_storage().data_ptr(), None)
    return sum(storages.values()) / 2**20


def print_row(name: str, times: list[float], memory: list[float], rule: str) -> None:
    """Prints a line: milliseconds of every form, ratios of the first to the others, memory, and the choice of the rule.

    Args:
        name: Name of the row.
        times: Milliseconds of every form.
        memory: MiB of every form.
        rule: Choice of the rule.
    """
    ratios = ''.join(f'{times[0] / t:8.2f}' for t in times[1:])
    kept_mib = ''.join(f'{m:8.1f}' for m in memory)
    print(f'{name:30}{"".join(f"{t:10.2f}" for t in times)}{ratios}{kept_mib}  {rule}'.rstrip())


@click.command()
@click.option('--threads', type=int, default=2, show_default=True, help='CPU threads.')
@click.option('--batch', type=int, default=8, show_default=True, help='Images.')
@click.option('--repeat', type=int, default=7, show_default=True, help='Calls to take the median of.')
def main(threads: int, batch: int, repeat: int) -> None:
    """Prints two tables: a row per blend and dtype, and a row per network's styles."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    print(f'{threads} threads, batch {batch}; ms, forward and backward\n')
    heads = f'{"concat":>10}{"split":>10}{"kernels":>10}{"ratios":>16}{"MiB":>24}'
    print(f'{"blend":30}{heads}  rule')
    for resolution in BASES:
        for c, h in blends(resolution):
            for name, dtype in DTYPES.items():
                forms, inputs = blend_forms(c, h, dtype, batch)
                memory = [kept(form, inputs) for form in forms.values()]
                print_row(
                    f'squeeze {resolution} {c} @{h} {name}', measure(forms, inputs, repeat), memory, rule_of(c, h)
                )
    print(f'\n{"styles, fp32":30}{"separate":>10}{"one":>10}{"ratio":>8}')
    networks = {f'{make.__name__} {r}': affine_shapes(make(r)) for make in (squeeze, stylegan2) for r in BASES}
    for name, shapes in (networks | {'gconv 32': gconv_shapes()}).items():
        forms, inputs = style_forms(shapes, batch)
        label = f'{name}: {len(shapes)}, {shapes[0][1]}>{sum(o for o, _ in shapes)}'
        print_row(label, measure(forms, inputs, 3 * repeat), [], '')


if __name__ == '__main__':
    run_command(main)
