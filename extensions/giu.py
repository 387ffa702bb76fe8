"""GIU-GANs: GIU modules and representative BN in a DCGAN-shaped pair with WGAN-GP and spectral norm.

Tian et al., "GIU-GANs: Global Information Utilization for Generative Adversarial Networks", Neural Networks 152 (2022),
arXiv 2201.10471. The text does not give the widths, the 4x4 kernels with biases, and z_dim = 128: they are the only
reading that gives the printed FLOPs and parameters (tests/extensions/test_giu_counts.py). The last layers have no
spectral norm, as in the public code with this backbone.

Letters: R image resolution, r that of a stage (4, 8, ... R / 2), C its channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from extensions.layers.dcgan import (
    DCGANDiscriminator,
    DCGANDiscriminatorConfig,
    DCGANGenerator,
    DCGANGeneratorConfig,
    width,
)
from extensions.layers.giu import GIU, KERNEL_NORMS, KernelNorm
from extensions.layers.latent_run import latent_run
from extensions.layers.rbn import RBN
from training.config import LossConfig, RunConfig, require
from training.interface import ImageSpec
from training.registry import register_discriminator, register_generator, register_recipe

PAPER = 'Tian et al., GIU-GANs: Global Information Utilization for GANs, Neural Networks 152 (2022)'
Changes = dict[str, Any]  # values by field
PLACES = ('low', 'none', 'middle', 'high', 'both_ends', 'all')


@dataclass(frozen=True, kw_only=True, slots=True)
class GIUGeneratorConfig(DCGANGeneratorConfig):
    """The backbone's fields, and the positions of GIU modules and RBN.

    `place` is 'low' (r <= R / 8: 4 at 32x32; 4 and 8 at 64x64), 'middle' (R / 4), 'high' (R / 2), 'both_ends' (low and
    high), 'all', 'none', or a list of stages such as '4,16'. In Table 1, "deep D and shallow G" is low in both
    networks, and "only G" is low in G and none in D. The row printed as "shallow D and deep G", which is high in both,
    has the counts of both_ends in both.
    """

    place: str = 'low'
    k: int = 3  # K, side of the involution kernels (Table 4: 3, 5, 7)
    group_channels: int = 16  # channels that share a kernel (Table 4: 8, 16, 32)
    kernel_ratio: int = 4  # the paper's r_1; the text has 16, the counts fit 4
    se_ratio: int = 16  # the paper's r_2
    kernel_norm: KernelNorm = 'bn'  # normalization in the kernel generator; 'none' is Algorithm 1 as printed
    gate_value: bool = False  # apply the kernels to the weighted channels instead of X
    # 'ends' are the first and last stage, "near the input and output layers" (section 6). The counts fit 'first' as
    # well.
    rbn: Literal['ends', 'none', 'first', 'all'] = 'ends'

    def __post_init__(self) -> None:
        DCGANGeneratorConfig.__post_init__(self)  # no super(): it fails in a dataclass with slots
        require(self.rbn in ('ends', 'none', 'first', 'all'), 'rbn', self.rbn, 'one of ends, none, first, all')
        check_giu(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GIUDiscriminatorConfig(DCGANDiscriminatorConfig):
    """The backbone's fields, and those of the GIU modules as in GIUGeneratorConfig."""

    place: str = 'low'
    k: int = 3
    group_channels: int = 16
    kernel_ratio: int = 4
    se_ratio: int = 16
    kernel_norm: KernelNorm = 'bn'
    gate_value: bool = False

    def __post_init__(self) -> None:
        DCGANDiscriminatorConfig.__post_init__(self)
        check_giu(self)


GIUConfig = GIUGeneratorConfig | GIUDiscriminatorConfig


def check_giu(cfg: GIUConfig) -> None:
    """Raises ConfigError if a field shared by G and D is out of range."""
    named = cfg.place in PLACES or all(part.isdecimal() for part in cfg.place.split(','))
    require(named, 'place', cfg.place, f'one of {", ".join(PLACES)}, or resolutions such as 4,8')
    require(cfg.k >= 1 and cfg.k % 2 == 1, 'k', cfg.k, 'must be odd: 1, 3, 5, 7 ...')
    for name in ('group_channels', 'kernel_ratio', 'se_ratio'):
        require(getattr(cfg, name) >= 1, name, getattr(cfg, name), 'must be at least 1')
    require(cfg.kernel_norm in KERNEL_NORMS, 'kernel_norm', cfg.kernel_norm, f'one of {", ".join(KERNEL_NORMS)}')


def places(place: str, stages: Iterable[int]) -> set[int]:
    """Returns the stages with a GIU module.

    'low', 'middle' and 'high' partition the stages. At 16x16, R / 8 is not a stage: low is 4 and middle is empty.

    Raises:
        ConfigError: if the images have no such stage.
    """
    known = sorted(stages)
    high = {known[-1]}
    low = {r for r in known if 4 * r <= known[-1]} or {4}
    named = {'none': set(), 'low': low, 'middle': set(known) - low - high, 'high': high, 'both_ends': low | high}
    named['all'] = set(known)
    chosen = named[place] if place in named else {int(part) for part in place.split(',')}
    require(chosen <= set(known), 'place', place, f'the stages of these images are {", ".join(map(str, known))}')
    require(bool(chosen) or place == 'none', 'place', place, 'needs images of at least 32x32')
    return chosen


def make_giu(cfg: GIUConfig, channels: int) -> GIU:
    """Returns the GIU module of the config for a number of channels."""
    return GIU(
        channels,
        k=cfg.k,
        group_channels=cfg.group_channels,
        kernel_ratio=cfg.kernel_ratio,
        se_ratio=cfg.se_ratio,
        kernel_norm=cfg.kernel_norm,
        gate_value=cfg.gate_value,
    )


@register_generator('giu', config=GIUGeneratorConfig)
class GIUGenerator(DCGANGenerator):
    """The backbone's generator with GIU modules and RBN (Fig. 3)."""

    def make_norm(self, cfg: GIUGeneratorConfig, res: int) -> torch.nn.Module:
        first, last = self.stages[0], self.stages[-1]
        chosen = {'ends': (first, last), 'none': (), 'first': (first,), 'all': self.stages}[cfg.rbn]
        return RBN(width(cfg, res)) if res in chosen else DCGANGenerator.make_norm(self, cfg, res)

    def make_tail(self, cfg: GIUGeneratorConfig, res: int) -> torch.nn.Module | None:
        return make_giu(cfg, width(cfg, res)) if res in places(cfg.place, self.stages) else None


@register_discriminator('giu', config=GIUDiscriminatorConfig)
class GIUDiscriminator(DCGANDiscriminator):
    """The backbone's discriminator with GIU modules (Fig. 2); its only BN is inside these modules."""

    def make_tail(self, cfg: GIUDiscriminatorConfig, res: int) -> torch.nn.Module | None:
        return make_giu(cfg, width(cfg, res)) if res in places(cfg.place, self.stages) else None


@register_recipe('giu', paper=PAPER, min_resolution=16)
def giu(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the config of Algorithm 2, V3 of Table 2, and Tables 5 and 6.

    R = 32 and 64 are the paper's sizes; other sizes follow the same rules. There is one step of D per step of G:
    Algorithm 2 has no n_critic, and its loop over i runs over samples. The paper names no precision; PyTorch 1.7's
    default is float32, here --fp32. The other runs of Table 2 are V1: d_opt.lr 1e-4, g_opt.lr 4e-4; V2: both 3e-4; V4
    and V5: kinds adagrad and rmsprop.
    """
    base = 32 * facts.resolution
    return latent_run(
        'giu',
        facts,
        num_gpus,
        generator=GIUGeneratorConfig(channel_base=base),
        discriminator=GIUDiscriminatorConfig(channel_base=base),
        loss=LossConfig(kind='wasserstein'),
        gp=10,
    )


def variant(
    cfg: RunConfig, name: str, generator: Changes | None = None, discriminator: Changes | None = None
) -> RunConfig:
    """Returns `cfg` under another name, with other fields in its networks.

    Args:
        cfg: Config of a run.
        name: Name of the recipe.
        generator: Changed fields of the generator's config.
        discriminator: Changed fields of the discriminator's config.
    """
    return replace(
        cfg,
        cfg=name,
        generator=replace(cfg.generator, **(generator or {})),
        discriminator=replace(cfg.discriminator, **(discriminator or {})),
    )


@register_recipe('giu-norbn', paper=PAPER, min_resolution=16)
def giu_norbn(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns Table 8's "without RBN", which is the better one on CIFAR-10."""
    return variant(giu(facts, num_gpus), 'giu-norbn', {'rbn': 'none'})


@register_recipe('giu-nogiu', paper=PAPER, min_resolution=16)
def giu_nogiu(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns Table 7's "without GIU module"."""
    return variant(giu(facts, num_gpus), 'giu-nogiu', {'place': 'none'}, {'place': 'none'})


@register_recipe('giu-base', paper=PAPER, min_resolution=16)
def giu_base(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns Table 7's "baseline": WGAN-GP with spectral norm in both networks."""
    return variant(giu_nogiu(facts, num_gpus), 'giu-base', {'rbn': 'none'})


@register_recipe('sngan', paper=PAPER, min_resolution=16)
def sngan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the SNGAN of Tables 5 and 6: the baseline's networks with SNGAN's hinge loss; the paper gives none."""
    cfg = giu_base(facts, num_gpus)
    return variant(replace(cfg, loss=LossConfig(kind='hinge'), gp=replace(cfg.gp, weight=0)), 'sngan')


@register_recipe('wgan-gp', paper=PAPER, min_resolution=16)
def wgan_gp(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the WGAN-GP of Tables 5 and 6: no spectral norm, and leaky ReLU also in G, as its FLOPs show.

    Gulrajani et al. use five steps of D per step of G at lr 1e-4. GIU-GANs prints neither, so its own settings are
    kept.
    """
    return variant(giu_base(facts, num_gpus), 'wgan-gp', {'sn': False, 'act': 'lrelu'}, {'sn': False})


@register_recipe('wgan-gp+2', paper=PAPER, min_resolution=16)
def wgan_gp_2(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns WGAN-GP(+2) of Table 6: 3x3 convolutions at 4x4 and 8x8 in both networks, which fit its counts."""
    return variant(wgan_gp(facts, num_gpus), 'wgan-gp+2', {'extra': (4, 8)}, {'extra': (4, 8)})


@register_recipe('wgan-gp+3', paper=PAPER, min_resolution=32)
def wgan_gp_3(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns WGAN-GP(+3) of Table 6: one more at 16x16 in G and R / 2 in D. Its 764.48 M FLOPs are 763.48 M here."""
    highest = facts.resolution // 2
    return variant(wgan_gp(facts, num_gpus), 'wgan-gp+3', {'extra': (4, 8, 16)}, {'extra': (4, 8, highest)})
