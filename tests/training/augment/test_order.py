"""The transforms of ADA's pipe are composed in the official order, pinned by fixed draws."""

from __future__ import annotations

import math

import numpy as np
import torch

from training.augment.pipe import AugmentPipe
from training.augment.presets import Transforms

HEIGHT, WIDTH = 32, 64


def single_maps(p: float, names: list[str]) -> list[np.ndarray]:
    """Returns what each transform drew in a pipe of its own, which continues with the generator of the one before."""
    shape = torch.Size([8, 3, HEIGHT, WIDTH])
    result = []
    for name in names:
        drawn = AugmentPipe(Transforms(**{name: 1})).draw(shape, p)
        result.append((drawn.inverse if drawn.colors is None else drawn.colors).numpy())
    return result


def test_geometry_is_composed_from_the_flip_to_the_fractional_shift():
    names = ['xflip', 'rotate90', 'xint', 'scale', 'aniso', 'xfrac']
    torch.manual_seed(3)
    flip, quarter, shift, scale, stretch, fraction = single_maps(1, names)
    torch.manual_seed(3)
    together = AugmentPipe(Transforms(**dict.fromkeys(names, 1.0))).draw(torch.Size([8, 3, HEIGHT, WIDTH]), 1)
    moved = np.linalg.inv(together.inverse.numpy())
    steps = [np.linalg.inv(m) for m in (fraction, stretch, scale, shift, quarter, flip)]  # the flip acts first
    for k in range(8):
        np.testing.assert_allclose(moved[k], np.linalg.multi_dot([m[k] for m in steps]), atol=1e-12)


def test_the_two_rotations_lie_around_the_stretch():
    """G = fraction post stretch pre scale, from the same numbers drawn by hand."""
    names = {'scale': 1.0, 'rotate': 1.0, 'aniso': 1.0, 'xfrac': 1.0}
    torch.manual_seed(5)
    g = np.linalg.inv(AugmentPipe(Transforms(**names)).draw(torch.Size([1, 3, HEIGHT, WIDTH]), 1).inverse.numpy()[0])
    torch.manual_seed(5)

    def value(kind: str, *shape: int) -> torch.Tensor:
        drawn = getattr(torch, kind)(shape, dtype=torch.float64)
        torch.rand(1, dtype=torch.float64)  # the gate
        return drawn

    def turn(u: float) -> np.ndarray:
        a = (2 * u - 1) * math.pi
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])

    scale = 2 ** (0.2 * float(value('randn', 1)))
    pre = turn(float(value('rand', 1)))
    stretch = 2 ** (0.2 * float(value('randn', 1)))
    post = turn(float(value('rand', 1)))
    fraction = np.eye(3)
    fraction[:2, 2] = value('randn', 1, 2)[0].numpy() * 0.125 * [WIDTH, HEIGHT]
    expected = fraction @ post @ np.diag([stretch, 1 / stretch, 1]) @ pre @ np.diag([scale, scale, 1])
    np.testing.assert_allclose(g, expected, atol=1e-12)


def test_colours_are_composed_from_brightness_to_saturation():
    names = ['brightness', 'contrast', 'lumaflip', 'hue', 'saturation']
    torch.manual_seed(4)
    singles = single_maps(1, names)
    torch.manual_seed(4)
    together = AugmentPipe(Transforms(**dict.fromkeys(names, 1.0))).draw(torch.Size([8, 3, HEIGHT, WIDTH]), 1).colors
    for k in range(8):
        expected = np.linalg.multi_dot([m[k] for m in reversed(singles)])  # brightness acts first
        np.testing.assert_allclose(together[k].numpy(), expected, atol=1e-12)
