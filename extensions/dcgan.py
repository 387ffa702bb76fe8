"""DCGAN as measured in Table 5 of GIU-GANs: G twice as wide as D, no biases, BN in both networks."""

from __future__ import annotations

from typing import Any

from extensions.layers.dcgan import DCGANDiscriminatorConfig, DCGANGeneratorConfig
from extensions.layers.latent_run import latent_run
from training.config import LossConfig, RunConfig
from training.interface import ImageSpec
from training.registry import register_recipe

PAPER = 'Radford et al., DCGAN, ICLR 2016, as compared by Tian et al., GIU-GANs, 2022'


@register_recipe('dcgan', paper=PAPER, min_resolution=16)
def dcgan(facts: ImageSpec, num_gpus: int) -> RunConfig:
    """Returns the config. Loss, Adam, slope and initialization N(0, 0.02^2) are DCGAN's.

    The widths follow from the counts at 32x32: G 512, 256, 128; D 64, 128, 256. Other sizes use clip(64 R / r, 128,
    1024) in G and clip(32 R / r, 64, 512) in D, so that G at 64x64 is DCGAN's own (1024 to 128). D has BN after every
    stage except the first. GIU-GANs reports that this baseline failed on CelebA.
    """
    res = facts.resolution
    plain: dict[str, Any] = {'slope': 0.2, 'bias': False, 'sn': False, 'init_std': 0.02}
    return latent_run(
        'dcgan',
        facts,
        num_gpus,
        generator=DCGANGeneratorConfig(channel_base=64 * res, channel_max=1024, channel_min=128, **plain),
        discriminator=DCGANDiscriminatorConfig(channel_base=32 * res, norm='bn', **plain),
        loss=LossConfig(kind='cross_entropy'),
        beta1=0.5,
        beta2=0.999,
    )
