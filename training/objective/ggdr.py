"""Generator-guided discriminator regularization, GGDR (Lee et al., ECCV 2022).

Letters: N batch, C channels, h and w height and width of features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from training.augment.geometric import move_features
from training.interface import Features, ImageSpec
from training.objective.features import Decoder, GuidanceConfig, reading_resolution
from training.objective.term import Scored, Summand, Term, register_term


class FeaturePredictor(torch.nn.Module):
    """The layers of D that predict G's features at `resolution` from D's own, a part of D named `ggdr`."""

    def __init__(self, G: Any, D: Any, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.decoder = Decoder(D.feature_channels(), resolution, G.feature_channels()[resolution], act='lrelu')

    def forward(self, features_d: Features, target: torch.Tensor) -> torch.Tensor:
        """Returns 1 - cos(f_G, f_D) at each position, averaged over positions, [N] (Eq. 4 and 5).

        Args:
            features_d: D's features by resolution.
            target: G's features at `resolution`, float32 [N, C, h, w].
        """
        return (1 - F.cosine_similarity(self.decoder(features_d), target, dim=1)).mean(dim=(1, 2))


@register_term('ggdr', config=GuidanceConfig)
class GGDR(Term):
    """D predicts G's features from the generated image alone. A real image has no features of G.

    The paper reads features at 64x64 of images of 256x256; elsewhere it is a quarter of the images' size. Under ADA, D
    sees a moved image, and G's features are moved in the same way; changes of color, noise and hidden places leave them
    alone.
    """

    needs_features = True
    cfg: GuidanceConfig

    def attach(self, spec: ImageSpec) -> None:
        """Adds the layers that predict features to D."""
        resolution = reading_resolution(self.name, self.cfg, max(self.G.img_resolution // 4, 8), self.G, self.D)
        self.D.add_module(self.name, FeaturePredictor(self.G, self.D, resolution))

    def on_logits(self, scored: Scored) -> Summand | None:
        """Returns the weighted distance of predicted and actual features of generated images."""
        if not scored.generated:
            return None
        predictor = getattr(self.D, self.name)
        target = scored.features_g[predictor.resolution].detach().float()  # [N, C, h, w]
        if scored.inverse is not None:
            target = move_features(target, scored.inverse, scored.img.shape[3])
        loss = self.cfg.weight * predictor(scored.features_d, target)  # [N]
        return Summand(loss=loss, statistics={f'Loss/D/{self.name}': loss})
