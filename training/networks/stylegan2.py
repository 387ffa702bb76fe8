"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958) with the parameter names and shapes of StyleGAN2-ADA for PyTorch.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from typing import Any

import torch

from training.interface import ImageSpec
from training.networks.config import StyleGAN2DiscriminatorConfig, StyleGAN2GeneratorConfig
from training.networks.discriminator import StyleGAN2Discriminator
from training.networks.mapping import MappingNetwork
from training.networks.synthesis import BlockSpec, NoiseMode, SynthesisBlock, SynthesisBlockBase, SynthesisNetwork
from training.registry import register_generator

__all__ = [
    'StyleGAN2Discriminator',
    'StyleGAN2DiscriminatorConfig',
    'StyleGAN2Generator',
    'StyleGAN2GeneratorConfig',
]


class MappedGenerator(torch.nn.Module):
    """Base class of generators that are a mapping network followed by a synthesis network.

    Args:
        config: Config of the generator: z_dim, w_dim, map_depth, map_lr_multiplier, w_avg_beta.
        spec: Facts of the images.
        synthesis: The synthesis network, ws [N, num_ws, w_dim] -> image [N, C, H, W]; it has `num_ws`.
    """

    def __init__(self, config: Any, spec: ImageSpec, synthesis: Any) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, spec.label_dim, config.w_dim
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.synthesis = synthesis
        self.num_ws: int = synthesis.num_ws
        self.mapping = MappingNetwork(
            z_dim=self.z_dim,
            c_dim=self.c_dim,
            w_dim=self.w_dim,
            num_ws=self.num_ws,
            num_layers=config.map_depth,
            lr_multiplier=config.map_lr_multiplier,
            w_avg_beta=config.w_avg_beta,
        )

    def forward(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None,
        *,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = 'random',
    ) -> torch.Tensor:
        """Returns the images, [N, C, H, W].

        Args:
            z: Latents, [N, z_dim].
            c: Labels, [N, label_dim]; None without labels.
            truncation_psi: See `MappingNetwork.forward`.
            truncation_cutoff: See `MappingNetwork.forward`.
            noise_mode: See `SynthesisNetwork.forward`.
        """
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        img: torch.Tensor = self.synthesis(ws, noise_mode=noise_mode)
        return img


@register_generator('stylegan2', config=StyleGAN2GeneratorConfig)
class StyleGAN2Generator(MappedGenerator):
    """Generator: z [N, z_dim] and label [N, c_dim] -> image [N, C, H, W] float32, unbounded, nominally in [-1, 1].

    Generators with other blocks derive from this class and override `make_block`.
    """

    @staticmethod
    def make_block(cfg: Any, spec: BlockSpec) -> SynthesisBlockBase:
        """Returns the block for a position in the synthesis network. cfg: config of the (derived) generator."""
        return SynthesisBlock(cfg, spec)

    def __init__(self, config: StyleGAN2GeneratorConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec, SynthesisNetwork(config, spec, self.make_block))

    def feature_blocks(self) -> dict[int, torch.nn.Module]:
        """Returns the blocks whose output is the input of the next block, see `interface.FeatureNetwork`."""
        return {res: getattr(self.synthesis, f'b{res}') for res in self.synthesis.resolutions[:-1]}

    def feature_channels(self) -> dict[int, int]:
        """Returns the channels of these features, see `interface.FeatureNetwork`."""
        return {res: self.synthesis.channels[res] for res in self.synthesis.resolutions[:-1]}
