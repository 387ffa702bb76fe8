"""The options --translate and --rotate, for generators that take a transform of their input: StyleGAN3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from dnnlib.errors import ConfigError
from training.interface import ImageSpec, MovableGenerator


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """A transform of the picture.

    Attributes:
        translate: Shares of width and height by which it moves to the right and down.
        rotate: Degrees by which it turns counter-clockwise.
    """

    translate: tuple[float, float] = (0.0, 0.0)
    rotate: float = 0.0

    def matrix(self, spec: ImageSpec) -> torch.Tensor:
        """Returns where positions of the picture go, float64 [3, 3]; the unit is the side of a square picture."""
        angle = math.radians(self.rotate)
        c, s = math.cos(angle), math.sin(angle)
        x, y = self.translate
        x, y = x * spec.width / spec.resolution, y * spec.height / spec.resolution
        return torch.tensor([[c, s, x], [-s, c, y], [0, 0, 1]], dtype=torch.float64)

    def record(self) -> dict[str, Any]:
        """Returns the text chunks of a picture, empty for a picture that is not moved."""
        given = {'translate': list(self.translate), 'rotate': self.rotate}
        return {} if self == Transform() else given


STILL = Transform()


def parse_transform(translate: str | None, rotate: float | None) -> Transform:
    """Returns the transform of --translate, such as '0.1,-0.2', and --rotate. ConfigError unless they are finite."""
    x, y = 0.0, 0.0
    if translate is not None:
        try:
            x, y = (float(part) for part in translate.split(','))
        except ValueError:
            x = math.nan
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ConfigError(f'--translate={translate}: expected two shares of width and height, such as 0.1,-0.2')
    if rotate is not None and not math.isfinite(rotate):
        raise ConfigError(f'--rotate={rotate}: expected degrees, such as 30')
    return Transform(translate=(x, y), rotate=rotate or 0.0)


def apply_transform(G: Any, transform: Transform, spec: ImageSpec, where: str) -> None:
    """Moves all pictures that a generator draws from now on.

    Args:
        G: The generator.
        transform: The transform.
        spec: Facts of its pictures.
        where: Name of the network in messages.

    Raises:
        ConfigError: If the generator takes no transform.
    """
    if transform == STILL:
        return
    if not isinstance(G, MovableGenerator):
        raise ConfigError(
            f'--translate, --rotate: {where} takes no transform of its input, as StyleGAN3 does; drop them'
        )
    G.set_transform(transform.matrix(spec))
