"""StyleGAN3: a generator without aliasing, whose details move with the surfaces that they belong to.

Karras et al. 2021, arXiv 2106.12423. Configuration T is equivariant to translation, R to rotation too. The
discriminator is StyleGAN2's. Letters: N batch, L number of ws, C image channels, H and W image height and width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from extensions.layers.stylegan3 import SynthesisInput, SynthesisLayer
from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.layers.stylegan3_plan import plan_layers
from training.augment.config import AugmentConfig
from training.config import EmaConfig, OptimizerConfig, PathLengthConfig, R1Config, RunConfig
from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig
from training.networks.discriminator import StyleGAN2Discriminator  # noqa: F401 (registers itself)
from training.networks.stylegan2 import MappedGenerator
from training.networks.synthesis import NoiseMode
from training.registry import register_generator, register_recipe

PAPER = 'Karras et al., Alias-Free Generative Adversarial Networks, NeurIPS 2021'
BATCH = 32  # batch of every published run with the gamma below
# Images of a side that one GPU of 12 GB trains at a time, T and R.
IMAGES_AT_ONCE = {128: (16, 16), 256: (16, 8), 512: (8, 4), 1024: (4, 4)}


class SynthesisNetwork(torch.nn.Module):
    """Synthesis network: ws [N, L, w_dim] -> image [N, C, H, W] float32, unbounded, nominally in [-1, 1]."""

    def __init__(self, cfg: StyleGAN3Config, spec: ImageSpec) -> None:
        super().__init__()
        self.w_dim = cfg.w_dim
        self.output_scale = cfg.output_scale
        plans = plan_layers(cfg, spec)
        self.layer_names = [plan.name for plan in plans]
        self.num_ws = len(plans) + 1
        self.input = SynthesisInput(plans[0].source, cfg.w_dim)
        for plan in plans:
            setattr(self, plan.name, SynthesisLayer(cfg, plan))

    def layers(self) -> Iterator[SynthesisLayer]:
        """Returns the layers in their order, ToRGB last."""
        return (getattr(self, name) for name in self.layer_names)

    def forward(
        self, ws: torch.Tensor, *, noise_mode: NoiseMode = 'random', update_magnitudes: bool = False
    ) -> torch.Tensor:
        """Returns the image.

        Args:
            ws: [N, L, w_dim].
            noise_mode: 'random', 'const' or 'none', all with the same result: there is no noise.
            update_magnitudes: Whether the running mean squares of the layers' inputs move, before they are used.

        Raises:
            ValueError: If noise_mode is unknown.
        """
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode '{noise_mode}': must be random, const or none")
        assert ws.shape[1:] == (self.num_ws, self.w_dim), f'ws must be [N, {self.num_ws}, {self.w_dim}]'
        first, *others = ws.to(self.input.weight.dtype).unbind(dim=1)  # [N, w_dim] each
        x = self.input(first)
        for layer, w in zip(self.layers(), others, strict=True):
            x = layer(x, w, update_magnitudes)
        return (x * self.output_scale).float()


@register_generator('stylegan3', config=StyleGAN3Config)
class StyleGAN3Generator(MappedGenerator):
    """Generator: z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32, unbounded, nominally in [-1, 1]."""

    def __init__(self, config: StyleGAN3Config, spec: ImageSpec) -> None:
        super().__init__(config, spec, SynthesisNetwork(config, spec))

    @torch.no_grad()
    def set_transform(self, matrix: torch.Tensor) -> None:
        """Transforms all images from now on, see `interface.MovableGenerator`."""
        self.synthesis.input.transform.copy_(torch.linalg.inv(matrix.double().cpu()))

    def track(self, ws: torch.Tensor) -> torch.Tensor:
        """Returns the images [N, C, H, W] of ws [N, L, w_dim], and moves the layers' running mean squares."""
        return self.synthesis(ws, update_magnitudes=True)


def style3_run(
    cfg: str, facts: ImageSpec, num_gpus: int, generator: StyleGAN3Config, batch_gpu: int, blur_sigma: float
) -> RunConfig:
    """Returns what the runs of T and R have in common.

    R1's gamma is 2 at 256 px and proportional to the number of pixels, at a batch of 32. The official command line
    requires gamma and recommends to try up to four times more and less.

    The gradients of micro-batches are averaged, as everywhere in this project. The official code adds them, so that
    they grow with the number of micro-batches; Adam divides by their size, and the difference is immaterial except for
    its eps and for gradients that are limited. The running averages move once per step, by the mean over the
    micro-batches; the official ones move once per micro-batch.

    Args:
        cfg: Name of the recipe.
        facts: Facts of the data set.
        num_gpus: Number of GPUs.
        generator: Config of the generator.
        batch_gpu: Images that one GPU holds at a time.
        blur_sigma: Initial blur of the images that D receives, in pixels.
    """
    batch_gpu = min(batch_gpu, max(BATCH // num_gpus, 1))
    return RunConfig(
        cfg=cfg,
        generator=replace(generator, magnitude_ema_beta=0.5 ** (BATCH / 20000)),
        discriminator=StyleGAN2DiscriminatorConfig(mbstd_group=min(4, batch_gpu)),
        r1=R1Config(gamma=2 * facts.pixels / 256**2),
        pl=PathLengthConfig(weight=0, interval=None),
        style_mixing_prob=0.0,
        aug=AugmentConfig(kind='ada', blur_sigma=blur_sigma, blur_fade_kimg=BATCH * 200 / 32),
        g_opt=OptimizerConfig(lr=0.0025),
        d_opt=OptimizerConfig(lr=0.002),
        ema=EmaConfig(kimg=BATCH * 10 / 32, rampup=0.05),
        gpus=num_gpus,
        batch=BATCH,
        batch_gpu=batch_gpu,
        kimg=25000,
    )


def images_at_once(facts: ImageSpec, column: int) -> int:
    """Returns the images that one GPU trains at a time: those of the next larger square in a column of the table."""
    fitting = [row[column] for side, row in IMAGES_AT_ONCE.items() if facts.pixels <= side**2]
    return fitting[0] if fitting else IMAGES_AT_ONCE[1024][column]


@register_recipe('stylegan3-t', paper=PAPER, min_resolution=16)
def stylegan3_t(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns configuration T: equivariant to translation."""
    return style3_run('stylegan3-t', facts, num_gpus, StyleGAN3Config(), images_at_once(facts, 0), blur_sigma=0)


@register_recipe('stylegan3-r', paper=PAPER, min_resolution=16)
def stylegan3_r(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns configuration R: equivariant to translation and rotation; 1x1 convolutions, twice the channels."""
    generator = StyleGAN3Config(conv_kernel=1, channel_factor=2, use_radial_filters=True)
    return style3_run('stylegan3-r', facts, num_gpus, generator, images_at_once(facts, 1), blur_sigma=10)
