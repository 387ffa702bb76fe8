"""SAGAN as measured in Tables 5 and 6 of GIU-GANs: a DCGAN-shaped pair with self-attention at two stages each.

Zhang et al. 2019, "Self-Attention Generative Adversarial Networks". The backbone is that of GIU-GANs (Tian et al.),
whose printed counts fit attention at the two highest stages of G and the two lowest of D.

Letters: N batch, C channels, E = C / 8 channels of queries and keys, L = H W pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dnnlib.errors import ConfigError
from extensions.layers.dcgan import (
    DCGANDiscriminator,
    DCGANDiscriminatorConfig,
    DCGANGenerator,
    DCGANGeneratorConfig,
    width,
)
from extensions.layers.latent_run import latent_run
from extensions.layers.spectral_norm import Conv2d
from training.config import LossConfig, RunConfig, require
from training.interface import ImageSpec
from training.registry import register_discriminator, register_generator, register_recipe

PAPER = 'Zhang et al., Self-Attention GANs, ICML 2019, as compared by Tian et al., GIU-GANs, 2022'
MAX_PIXELS = 32 * 32  # largest map with attention in the recipe, since its cost is the square of the pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class SAGANGeneratorConfig(DCGANGeneratorConfig):
    """The backbone's fields, and the stages with attention."""

    attention: tuple[int, ...] = (8, 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class SAGANDiscriminatorConfig(DCGANDiscriminatorConfig):
    """The backbone's fields, and the stages with attention."""

    attention: tuple[int, ...] = (4, 8)


class SelfAttention(torch.nn.Module):
    """Self-attention x + gamma v softmax(q^T k), [N, C, H, W] -> same shape; gamma starts at 0.

    The convolutions have biases and no spectral norm, as in the public code with this backbone. The key's bias adds a
    constant to a pixel's row of logits, which softmax ignores: it has no effect, yet belongs to the printed counts.

    Raises:
        ConfigError: if C is not a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 8:
            raise ConfigError(
                f'channels={channels}: self-attention needs a multiple of 8; change channel_base or channel_max'
            )
        self.query = Conv2d(channels, channels // 8, 1)
        self.key = Conv2d(channels, channels // 8, 1)
        self.value = Conv2d(channels, channels, 1)
        self.gamma = torch.nn.Parameter(torch.zeros([]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Eq. (1): beta_ij = softmax over j of q_i^T k_j
        q, k, v = (conv(x).flatten(2) for conv in (self.query, self.key, self.value))  # [N, E | E | C, L]
        logits = q.transpose(1, 2) @ k  # [N, L, L]
        full = torch.promote_types(x.dtype, torch.float32)
        beta = torch.softmax(logits, dim=2, dtype=full).to(x.dtype)  # [N, L, L]
        # Eq. (2), (3): o_i = sum over j of beta_ij v_j; y = gamma o + x
        o = (v @ beta.transpose(1, 2)).unflatten(2, x.shape[2:])  # [N, C, H, W]
        return x + self.gamma.to(x.dtype) * o


def make_attention(
    cfg: SAGANGeneratorConfig | SAGANDiscriminatorConfig, stages: list[int], res: int
) -> SelfAttention | None:
    """Returns the attention after the stage at `res`, or None.

    Args:
        cfg: Config of the network.
        stages: Resolutions of all stages.
        res: Resolution of the stage.

    Raises:
        ConfigError: If `cfg.attention` has an unknown stage.
    """
    unknown = sorted(set(cfg.attention) - set(stages))
    require(not unknown, 'attention', unknown, f'the stages of these images are {", ".join(map(str, sorted(stages)))}')
    return SelfAttention(width(cfg, res)) if res in cfg.attention else None


@register_generator('sagan', config=SAGANGeneratorConfig)
class SAGANGenerator(DCGANGenerator):
    """The backbone's generator with self-attention."""

    def make_tail(self, cfg: SAGANGeneratorConfig, res: int) -> torch.nn.Module | None:
        return make_attention(cfg, self.stages, res)


@register_discriminator('sagan', config=SAGANDiscriminatorConfig)
class SAGANDiscriminator(DCGANDiscriminator):
    """The backbone's discriminator with self-attention."""

    def make_tail(self, cfg: SAGANDiscriminatorConfig, res: int) -> torch.nn.Module | None:
        return make_attention(cfg, self.stages, res)


@register_recipe('sagan', paper=PAPER, min_resolution=16)
def sagan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the config with SAGAN's hinge loss and learning rates, 1e-4 for G and 4e-4 for D.

    GIU-GANs prints neither. Attention is at R / 4 and R / 2 in G and at 4 and 8 in D. From 128x128 on, it is at 16 and
    32 in G; if images that are not square have more than 32x32 pixels there, it moves to lower stages, at least 4 and
    8.
    """
    base, top = 32 * facts.resolution, facts.resolution // 2
    while top > 8 and math.prod(facts.size_at(top)) > MAX_PIXELS:
        top //= 2
    return latent_run(
        'sagan',
        facts,
        num_gpus,
        generator=SAGANGeneratorConfig(channel_base=base, attention=(top // 2, top)),
        discriminator=SAGANDiscriminatorConfig(channel_base=base),
        loss=LossConfig(kind='hinge'),
        g_lr=0.0001,
        d_lr=0.0004,
    )
