"""Generator-leading task of the discriminator, GLeaD (Bai et al., CVPR 2023, section 3.2).

Letters: N batch, C channels, H and W image size, h and w height and width of features, L number of ws, D their width.
"""

from __future__ import annotations

from typing import Any

import torch

from dnnlib.errors import ConfigError
from training.interface import Features, ImageSpec, StyleGenerator
from training.networks.layers import FullyConnected
from training.objective.features import Decoder, GuidanceConfig, reading_resolution
from training.objective.term import Scored, Summand, Term, register_term


class Redrawer(torch.nn.Module):
    """The layers of D that turn its features into features and a latent of G, a part of D named `glead`."""

    def __init__(self, spec: ImageSpec, G: Any, D: Any, resolution: int) -> None:
        """Builds the layers.

        Args:
            spec: Facts of the data set.
            G: Generator with a W space that shows its features.
            D: Discriminator that shows its features.
            resolution: Resolution of the features that G starts from.
        """
        super().__init__()
        self.resolution = resolution
        channels = D.feature_channels()
        self.decoder = Decoder(channels, resolution, G.feature_channels()[resolution], act='linear')
        h, w = spec.size_at(4)
        self.latent = FullyConnected(channels[4] * h * w, G.w_dim)

    def forward(self, G: Any, features_d: Features) -> torch.Tensor:
        """Returns the images that G draws from D's features and latent, [N, C, H, W]."""
        w = self.latent(features_d[4].float().flatten(1))  # [N, D]
        ws = w[:, None].expand(-1, G.num_ws, -1)  # [N, L, D]
        redrawn: torch.Tensor = G.synthesis(ws, noise_mode='none', features=self.decoder(features_d))  # [N, C, H, W]
        return redrawn


@register_term('glead', config=GuidanceConfig)
class GLeaD(Term):
    """D's features and latent let G redraw the image, real or generated. The latent is the same for every layer.

    G is held fixed. The paper reads at 32x32 of images of 256x256, elsewhere it is an eighth of their size, and adds a
    perceptual distance by a VGG network; this project's training has none, so the distance is that of pixels alone.
    The image itself is redrawn, not the augmented one, since G can draw no image in other colors.
    """

    needs_features = True
    cfg: GuidanceConfig

    def attach(self, spec: ImageSpec) -> None:
        """Adds the layers that let G redraw an image to D."""
        resolution = reading_resolution(self.name, self.cfg, max(self.G.img_resolution // 8, 8), self.G, self.D)
        if not isinstance(self.G, StyleGenerator):
            raise ConfigError(
                f'glead.weight={self.cfg.weight}: GLeaD needs a generator with a W space; --set glead.weight=0'
            )
        self.D.add_module(self.name, Redrawer(spec, self.G, self.D, resolution))

    def on_logits(self, scored: Scored) -> Summand:
        """Returns the weighted mean squared difference of each image and its redrawing."""
        redrawn = getattr(self.D, self.name)(self.G, scored.features_d)  # [N, C, H, W]
        loss = self.cfg.weight * (redrawn - scored.img).square().mean(dim=(1, 2, 3))  # [N]
        return Summand(loss=loss, statistics={f'Loss/D/{self.name}': loss})
