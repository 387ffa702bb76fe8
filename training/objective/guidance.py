"""Tasks that the generator sets the discriminator, beside telling real images from generated ones.

Both read D's features through a U-Net's decoder and belong to D: their layers are its submodules, trained in its main
phase. Where a paper's decoder is known here by its figure alone, the reading is the plainest one, and said.

Letters: N batch, C channels, R resolution of features, h and w their height and width, L number of ws, W their width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from training.interface import ImageSpec, StyleGenerator
from training.networks.layers import FullyConnected
from training.objective.features import Decoder, Features, FeatureTap, GuidanceConfig, reading_resolution


class GGDR(torch.nn.Module):
    """D predicts G's features from the generated image alone (Lee et al., ECCV 2022, Eq. 4 and 5).

    The paper reads features at 64x64 of images of 256x256; elsewhere it is a quarter of the images' size.
    """

    name = 'ggdr'
    on_real = False  # a real image has no features of G

    def __init__(self, cfg: GuidanceConfig, spec: ImageSpec, G: Any, D: Any) -> None:
        super().__init__()
        self.weight = cfg.weight
        self.resolution = reading_resolution(self.name, cfg, max(G.img_resolution // 4, 4), G, D)
        self.decoder = Decoder(D.feature_channels(), self.resolution, G.feature_channels()[self.resolution])

    def forward(self, G: Any, img: torch.Tensor, c: torch.Tensor, of_d: Features, of_g: Features) -> torch.Tensor:
        """1 - cos(f_G, f_D) at each position, averaged over them, [N]."""
        target = of_g[self.resolution].detach().float()  # [N, C, h, w]
        return (1 - F.cosine_similarity(self.decoder(of_d), target, dim=1)).mean(dim=(1, 2))


class GLeaD(torch.nn.Module):
    """D's features and latent let G redraw the image, real or generated (Bai et al., CVPR 2023, section 3.2).

    G is held fixed: it decodes features f of D's [N, C, h, w] under D's latent w [N, W], the same for every layer.
    The paper reads at 32x32 of images of 256x256, elsewhere it is an eighth of their size, and adds a perceptual
    distance by a VGG network; there is none among this project's parts, so the distance is that of pixels alone.
    """

    name = 'glead'
    on_real = True

    def __init__(self, cfg: GuidanceConfig, spec: ImageSpec, G: Any, D: Any) -> None:
        super().__init__()
        self.resolution = reading_resolution(self.name, cfg, max(G.img_resolution // 8, 4), G, D)
        out_channels = G.feature_channels()[self.resolution]
        if not isinstance(G, StyleGenerator):
            raise ConfigError(
                f'glead.weight={cfg.weight}: GLeaD needs a generator with a W space; --set glead.weight=0'
            )
        self.weight = cfg.weight
        channels = D.feature_channels()
        self.decoder = Decoder(channels, self.resolution, out_channels)
        h, w = spec.size_at(4)
        self.latent = FullyConnected(channels[4] * h * w, G.w_dim)

    def forward(self, G: Any, img: torch.Tensor, c: torch.Tensor, of_d: Features, of_g: Features) -> torch.Tensor:
        """Mean squared difference of the image and G's redrawing of it, [N]."""
        w = self.latent(of_d[4].float().flatten(1))  # [N, W]
        ws = w[:, None].expand(-1, G.num_ws, -1)  # [N, L, W]
        redrawn = G.synthesis(ws, noise_mode='none', features=self.decoder(of_d))  # [N, C, H, W]
        return (redrawn - img).square().mean(dim=(1, 2, 3))


TASKS: dict[str, type[GGDR] | type[GLeaD]] = {task.name: task for task in (GGDR, GLeaD)}


def attach_tasks(
    configs: Mapping[str, GuidanceConfig], spec: ImageSpec, G: torch.nn.Module, D: torch.nn.Module
) -> None:
    """Gives D the layers of the tasks that are on. ConfigError where a network does not show the features."""
    for name, task in TASKS.items():
        if configs[name].weight > 0:
            D.add_module(name, task(configs[name], spec, G, D))


class Guidance:
    """Runs the tasks of a D beside its logits. Without tasks it is D."""

    def __init__(self, G: Any, D: Any) -> None:
        self.G, self.D = G, D
        self.tasks = [getattr(D, name) for name in TASKS if hasattr(D, name)]
        self.taps = [FeatureTap(G), FeatureTap(D)] if self.tasks else []
        self.of_g: Features = {}

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Around the pass of G whose images D is then given."""
        if not self.tasks:
            yield
            return
        with self.taps[0].open() as self.of_g:
            yield

    def score(
        self, img: torch.Tensor, c: torch.Tensor, generated: bool, seen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """D's logits [N, 1], and the weighted loss [N] of each task that is set for such images.

        seen: the images as D sees them, where they are augmented. A task speaks of the image itself: GGDR's features
        are those it was generated from, and GLeaD has it redrawn, for G can draw no image in other colours.
        """
        shown = img if seen is None else seen
        if not self.tasks:
            return self.D(shown, c), {}
        with self.taps[1].open() as of_d:
            logits = self.D(shown, c)  # [N, 1]
        tasks = [task for task in self.tasks if generated or task.on_real]
        of_g, self.of_g = self.of_g, {}  # held no longer than they are needed
        return logits, {task.name: task.weight * task(self.G, img, c, of_d, of_g) for task in tasks}
