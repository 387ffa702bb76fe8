"""The contracts between generators, discriminators, and everything that trains, draws or measures them.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch

Features = dict[int, torch.Tensor]  # key: resolution R; value: [N, C, *spec.size_at(R)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """Facts of a data set. Networks are built from a config and these; facts are never options.

    An image is `base` doubled until `resolution`: height x width = base * resolution / 4. A square of 2^n pixels has
    the base 4 x 4 and its side as resolution; 64 x 96 is the base (4, 6) at resolution 64. `training/data/shapes.py`
    splits a size.

    resolution: power of two from 8 up.
    channels: 1 gray, 3 RGB, 4 RGBA, any other number of planes.
    label_dim: width of the label vector, 0 without labels.
    num_images: images in one epoch, x-flips included.
    base: height and width, in pixels, at which every network starts.
    bits: bits of a stored channel, 8 or 16.
    """

    resolution: int
    channels: int
    label_dim: int
    num_images: int
    base: tuple[int, ...] = (4, 4)
    bits: int = 8

    def __str__(self) -> str:
        """The facts in words: '64x64 RGB, 3 label entries, 5000 images'."""
        kinds = {1: 'gray', 2: 'gray with alpha', 3: 'RGB', 4: 'RGBA'}
        kind = ('16-bit ' if self.bits == 16 else '') + kinds.get(self.channels, f'with {self.channels} channels')
        labels = f'{self.label_dim} label entries' if self.label_dim else 'no labels'
        return f'{self.width}x{self.height} {kind}, {labels}, {self.num_images} images'

    @property
    def height(self) -> int:
        """The height of an image in pixels."""
        return self.size_at(self.resolution)[0]

    @property
    def width(self) -> int:
        """The width of an image in pixels."""
        return self.size_at(self.resolution)[1]

    @property
    def pixels(self) -> int:
        """The number of pixels of an image."""
        return self.height * self.width

    def size_at(self, resolution: int) -> tuple[int, int]:
        """Returns height and width of the features that networks name by a resolution; at 4 they are the base.

        Below 4, where a base may be odd, half a pixel counts as one, as in a convolution of stride 2.
        """
        return -(-self.base[0] * resolution // 4), -(-self.base[1] * resolution // 4)


@runtime_checkable
class Generator(Protocol):
    """A network that maps latents to images. Drawing, metrics and the main loss need `forward` alone."""

    z_dim: int
    c_dim: int
    img_resolution: int  # ImageSpec.resolution: neither the height nor the width of images that are not square
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

    Path length regularization, style mixing and projection need it and raise an error without it.
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
class TrackingGenerator(StyleGenerator, Protocol):
    """A style generator with running averages in its synthesis network.

    These and the running mean of w move with the images that D sees as generated in its main phase, once per step;
    without `track`, the running mean of w moves in the main phase of G.
    """

    def track(
        self,
        ws: torch.Tensor,  # [N, num_ws, w_dim]
    ) -> torch.Tensor: ...  # [N, C, H, W], as `synthesis` returns it after the averages have moved


@runtime_checkable
class MovableGenerator(Generator, Protocol):
    """A generator that draws its images moved, turned or stretched."""

    def set_transform(
        self,
        matrix: torch.Tensor,  # [3, 3] float64: where positions (x, y, 1) of the image go
    ) -> None:
        """Transforms all images from now on; the identity is the initial transform.

        The origin is the center of the image, x to the right, y down; the unit is the side of a square image.
        """
        ...


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network that shows its features. Terms with `needs_features` need it of G and of D."""

    def feature_blocks(self) -> dict[int, torch.nn.Module]:
        """Returns, by resolution R, the module whose output (or its first part) is [N, C, *spec.size_at(R)]."""
        ...

    def feature_channels(self) -> dict[int, int]:
        """Returns the number C of those features by resolution R."""
        ...


@runtime_checkable
class Discriminator(Protocol):
    """A network that scores images; larger means more real."""

    c_dim: int
    img_resolution: int
    img_channels: int

    def __call__(
        self,
        img: torch.Tensor,  # [N, C, H, W] float32
        c: torch.Tensor,  # [N, c_dim]
    ) -> torch.Tensor: ...  # [N, 1] float32 logits


@runtime_checkable
class Stateful(Protocol):
    """A part of a run that follows the training and is saved with it."""

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that resuming needs, in a form that JSON holds exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        ...


@runtime_checkable
class Exchanged(Protocol):
    """A part of a run that all processes update by the same numbers, once per step, from what each collected.

    Letters: R rows of this process in a step, K numbers in a row, W processes.
    """

    def take(self) -> torch.Tensor:
        """Returns the rows collected since the last call, float64 [R, K]."""
        ...

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds the rows of all processes, float64 [W, R, K] in the order of the micro-batches."""
        ...
