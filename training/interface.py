"""The contracts between a generator, a discriminator and everything that trains, draws or measures them.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """The facts of a data set. Networks are built from a config and these; facts are never options.

    An image is `base` doubled until `resolution`: height x width = base * resolution / 4, so a square of 2^n pixels has
    the base 4 x 4 and its side for a resolution, and 64 x 96 is the base (4, 6) at resolution 64. `shapes.py` splits a
    size. resolution: a power of two from 8 up. channels: 1 grey, 3 RGB, 4 RGBA, any other number of planes.
    label_dim: width of the label vector, 0 without labels. num_images: images in one epoch, x-flips included.
    bits: of a stored channel, 8 or 16.
    """

    resolution: int
    channels: int
    label_dim: int
    num_images: int
    base: tuple[int, ...] = (4, 4)  # height, width in pixels where every network starts
    bits: int = 8

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size_at(self.resolution)[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size_at(self.resolution)[1]

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.height * self.width

    def size_at(self, resolution: int) -> tuple[int, int]:
        """Height and width of features that networks name by a resolution; at 4 they are the base.

        Below 4, where a base may be odd, half a pixel counts as one, as a convolution of stride 2 has it.
        """
        return -(-self.base[0] * resolution // 4), -(-self.base[1] * resolution // 4)


@runtime_checkable
class Generator(Protocol):
    """Maps latents to images. `forward` is all that drawing, metrics and the main loss need."""

    z_dim: int
    c_dim: int
    img_resolution: int  # as ImageSpec has it: for images that are not square, neither their height nor their width
    img_channels: int

    def __call__(
        self,
        z: torch.Tensor,  # [N, z_dim] float32, standard normal
        c: torch.Tensor,  # [N, c_dim] float32, c_dim may be 0
        *,
        truncation_psi: float = 1,
        noise_mode: str = 'random',  # 'random' | 'const' | 'none'
    ) -> torch.Tensor: ...  # [N, C, H, W] float32, nominal range [-1, 1], not clipped


@runtime_checkable
class StyleGenerator(Generator, Protocol):
    """A generator with an intermediate latent space W.

    Path length regularisation, style mixing and projection need it, and say so when it is absent.
    """

    w_dim: int
    num_ws: int

    def mapping(
        self,
        z: torch.Tensor,  # [N, z_dim]
        c: torch.Tensor,  # [N, c_dim]
        *,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> torch.Tensor: ...  # [N, num_ws, w_dim]

    def synthesis(
        self,
        ws: torch.Tensor,  # [N, num_ws, w_dim]
        *,
        noise_mode: str = 'random',
    ) -> torch.Tensor: ...  # [N, C, H, W]


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network that shows its features, which GGDR and GLeaD need of G and of D."""

    def feature_blocks(self) -> dict[int, torch.nn.Module]:
        """By resolution R: the module whose output, or its first part, is features [N, C, *spec.size_at(R)]."""
        ...

    def feature_channels(self) -> dict[int, int]:
        """By resolution R: the number C of those features."""
        ...


@runtime_checkable
class Discriminator(Protocol):
    """Scores images; larger means more real."""

    c_dim: int
    img_resolution: int
    img_channels: int

    def __call__(
        self,
        img: torch.Tensor,  # [N, C, H, W] float32
        c: torch.Tensor,  # [N, c_dim]
    ) -> torch.Tensor: ...  # [N, 1] float32 logits
