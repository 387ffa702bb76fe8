"""The one resampling of all geometric transforms: against sums written out, and for what each transform does."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import geometric
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS, Transforms

# Facts 2.3, 8 digits: sym6, low pass, sum 1.
OFFICIAL_TAPS = [0.01089235, 0.00246831, -0.08343160, -0.03416156, 0.34722897, 0.55694640,
                 0.23895217, -0.05136248, -0.01489187, 0.03162528, 0.00124996, -0.00551593]  # fmt: skip


def warp(img: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Images [N, C, H, W] moved by G_inv [N, 3, 3]."""
    margins, theta = geometric.plan(inverse, *img.shape[2:])
    return geometric.apply(img, theta.to(img.dtype), margins)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, dtype=torch.float64, generator=generator) * 2 - 1


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    """Returns an image whose frequencies lie far below those that the filters cut."""
    x = F.pad(noise(*shape, seed=seed), [4] * 4, mode='reflect')
    return F.avg_pool2d(F.avg_pool2d(x, 5, 1), 5, 1) * 4


def ones(value: float = 1) -> torch.Tensor:
    return torch.full([1], value, dtype=torch.float64)


# ---- the filter


def test_the_filter_is_the_symlet_with_six_vanishing_moments():
    h = np.array(geometric.SYM6)
    np.testing.assert_allclose(h / h.sum(), OFFICIAL_TAPS, atol=5e-9)
    np.testing.assert_allclose(h.sum(), math.sqrt(2), rtol=1e-12)
    for shift in range(6):
        np.testing.assert_allclose(h[2 * shift :] @ h[: 12 - 2 * shift], shift == 0, atol=1e-12)
    alternating = h * (-1.0) ** np.arange(12)
    for moment in range(6):
        places = (np.arange(12) - 5.5) / 5.5
        np.testing.assert_allclose(alternating @ places**moment, 0, atol=1e-11)


# ---- against the sums


def reflected(values: np.ndarray, index: int) -> np.ndarray:
    """Returns values[index] along the first axis, mirrored at the first and the last element as often as needed."""
    period = 2 * (len(values) - 1)
    index %= period
    return values[min(index, period - index)]


def fine_pixel(image: np.ndarray, row: int, column: int) -> float:
    """Returns a pixel of the image [H, W], reflected without end and up-sampled by 2.

    Pixel k is fine pixel 2 k, and tap 5 lies on it.

    Args:
        image: Image, [H, W].
        row: Row of the fine pixel.
        column: Column of the fine pixel.
    """
    taps = np.array(geometric.SYM6) * math.sqrt(2)  # sum 2: zeros lie between the pixels

    def line(values: np.ndarray, fine: int) -> np.ndarray:
        ks = [k for k in range(fine // 2 - 3, fine // 2 + 4) if 0 <= fine - 2 * k + 5 < 12]
        return sum(taps[fine - 2 * k + 5] * reflected(values, k) for k in ks)

    return float(line(line(image, row), column))


def brute_force(image: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Returns the result [H, W], sample by sample, as facts 2.3 describe it."""
    h, w = image.shape
    taps = np.array(geometric.SYM6) / math.sqrt(2)
    cache: dict[tuple[int, int], float] = {}

    def fine(row: int, column: int) -> float:
        if (row, column) not in cache:
            cache[row, column] = fine_pixel(image, row, column)
        return cache[row, column]

    def sample(row: int, column: int) -> float:
        """Returns the fine pixel of the result at twice its pixels' indices."""
        x, y, _ = inverse @ [column / 2 - (w - 1) / 2, row / 2 - (h - 1) / 2, 1]
        px, py = 2 * (x + (w - 1) / 2), 2 * (y + (h - 1) / 2)
        left, top = math.floor(px), math.floor(py)
        tx, ty = px - left, py - top
        upper = (1 - tx) * fine(top, left) + tx * fine(top, left + 1)
        lower = (1 - tx) * fine(top + 1, left) + tx * fine(top + 1, left + 1)
        return (1 - ty) * upper + ty * lower

    samples = np.array([[sample(i, j) for j in range(-5, 2 * w + 5)] for i in range(-5, 2 * h + 5)])
    rows = np.array([taps @ samples[2 * i : 2 * i + 12] for i in range(h)])
    return np.array([taps @ rows[:, 2 * j : 2 * j + 12].T for j in range(w)]).T


def test_a_warp_is_the_sums_of_its_definition():
    """Flip, shrink, turn, stretch and move a 12 x 14 image; within one reflection, where the sums have no limit."""
    img = noise(3, 1, 12, 14)
    half = torch.tensor([1.0, 0.9, 1.2], dtype=torch.float64)
    inverse = (
        geometric.scaling(torch.tensor([-1.0, 1, 1]).double(), torch.ones(3).double())
        @ geometric.translation(torch.tensor([[1.0, -2], [0, 0], [0.3, 0.7]]).double())
        @ geometric.scaling(half, half)
        @ geometric.rotation(torch.tensor([0.0, 0.4, -0.2]).double())
        @ geometric.translation(torch.tensor([[0.0, 0], [0.5, -0.25], [-1.3, 0.1]]).double())
    )
    result = warp(img, inverse)
    for k in range(3):
        expected = brute_force(img[k, 0].numpy(), inverse[k].numpy())
        np.testing.assert_allclose(result[k, 0].numpy(), expected, atol=1e-9)


# ---- what it does


def test_the_identity_gives_the_image_back():
    x = noise(1, 3, 64, 64)
    identity = torch.eye(3, dtype=torch.float64)[None]
    assert float((warp(x, identity) - x).abs().max()) < 1e-10
    error = warp(x.float(), identity) - x.float()
    assert float(error.abs().max()) <= 1.3e-5
    assert float(error.square().mean().sqrt()) <= 1.7e-6


def test_a_flip_mirrors_and_a_quarter_turn_is_rot90():
    """Checks a smooth image: sym6 is not quite symmetric, and what is turned over is filtered the other way round."""
    x = smooth(1, 3, 32, 32)
    pairs = [(geometric.scaling(-ones(), ones()), x.flip(3))]
    pairs += [(geometric.quarter_turns(ones(k)), torch.rot90(x, k, [2, 3])) for k in range(4)]
    for inverse, expected in pairs:
        error = (warp(x, inverse) - expected).square().mean().sqrt()
        assert float(error) < 0.06 * float(x.std())


def test_whole_pixels_move_exactly_with_the_image_reflected():
    x = noise(1, 2, 16, 24)
    moved = warp(x, geometric.translation(-torch.tensor([[3.0, -2.0]], dtype=torch.float64)))
    padded = F.pad(x, [3, 0, 0, 2], mode='reflect')
    torch.testing.assert_close(moved, padded[:, :, 2:, :24], rtol=0, atol=1e-10)


def test_shifts_scales_and_turns_move_what_they_should():
    """A spot of light, seen by its centre and its size."""
    y, x = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(64) - 31.5, indexing='ij')
    spot = torch.exp(-((x - 6) ** 2 / 18 + (y - 2) ** 2 / 8)).double()[None, None]

    def moments(img: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        weight = (img / img.sum())[0, 0]
        centre = np.array([float((weight * v).sum()) for v in (x, y)])
        spread = [
            float((weight * (a - m) * (b - n)).sum())
            for a, m in ((x, centre[0]), (y, centre[1]))
            for b, n in ((x, centre[0]), (y, centre[1]))
        ]
        return centre, np.array(spread).reshape(2, 2)

    turn = geometric.rotation(-ones(0.5))
    moves = [
        geometric.translation(-torch.tensor([[3.25, -1.5]], dtype=torch.float64)),
        geometric.scaling(1 / ones(1.3), 1 / ones(1.3)),
        geometric.scaling(1 / ones(1.25), ones(1.25)),
        turn,
    ]
    before, spread = moments(spot)
    for inverse in moves:
        g = torch.linalg.inv(inverse)[0].numpy()
        centre, turned = moments(warp(spot, inverse))
        np.testing.assert_allclose(centre, (g @ [*before, 1])[:2], atol=0.1)
        np.testing.assert_allclose(turned, g[:2, :2] @ spread @ g[:2, :2].T, atol=0.35)
    assert np.linalg.inv(turn[0].numpy())[1, 0] > 0  # a positive angle turns from x to y, downwards


# ---- the margins


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.tuples(st.integers(6, 20), st.integers(6, 20)))
def test_an_image_does_not_depend_on_what_its_neighbours_need(seed: int, size: tuple[int, int]):
    """Margins are enough, up to the reflection's limit: with more of them nothing changes."""
    torch.manual_seed(seed)
    img = noise(1, 1, *size, seed=seed)
    inverse = geometric.draw(PRESETS['geom'], AugmentPipe(Transforms()).ranges, 1, 0.7, *size)
    margins = geometric.needed_margins(inverse, *size)
    limits = (size[1] - 1, size[1] - 1, size[0] - 1, size[0] - 1)
    wider = tuple(min(m + 2, limit) for m, limit in zip(margins, limits, strict=True))
    assert all(0 <= m <= limit for m, limit in zip(margins, limits, strict=True))
    needed = warp(img, inverse)
    with mock.patch.object(geometric, 'needed_margins', return_value=wider):
        torch.testing.assert_close(warp(img, inverse), needed, rtol=0, atol=1e-9)


def test_the_identity_needs_six_pixels_and_no_margin_exceeds_the_image():
    identity = torch.eye(3, dtype=torch.float64)[None]
    assert geometric.needed_margins(identity, 64, 32) == (6, 6, 6, 6)
    assert geometric.needed_margins(identity, 4, 64) == (6, 6, 3, 3)
    far = geometric.translation(torch.tensor([[1000.0, -1000.0]], dtype=torch.float64))
    assert geometric.needed_margins(far, 64, 32) == (0, 31, 63, 0)


def test_features_move_like_a_slow_transcription():
    """Reflection, bilinear values between pixels, positions by the map, sym6 on the way down; with explicit loops."""
    torch.manual_seed(0)
    features = torch.randn(2, 2, 6, 8, dtype=torch.float64)
    angle = torch.tensor([0.4, 0.0], dtype=torch.float64)
    inverse = geometric.rotation(angle) @ geometric.translation(torch.tensor([[3.0, -2.0], [0, 0]]).double())
    found = geometric.move_features(features, inverse, width=32)
    assert torch.equal(found[1], features[1])  # not moved
    maps = inverse[0].clone()
    maps[:2, 2] *= 8 / 32
    h, w, margin = 6, 8, 5
    padded = torch.nn.functional.pad(features[:1], [margin] * 4, mode='reflect')[0]
    taps = torch.tensor(geometric.SYM6, dtype=torch.float64)
    taps = taps / taps.sum()

    def fine(channel, x, y):
        """Returns the value at a place of the image, in pixels from its center, of the doubled bilinear image."""

        def pixel(i, j):  # of the doubled image: pixel m is a quarter of a pixel from its source
            rows, columns = (k / 2 - 0.25 for k in (i, j))
            value = 0.0
            for a in (math.floor(rows), math.floor(rows) + 1):
                for b in (math.floor(columns), math.floor(columns) + 1):
                    weight = (1 - abs(rows - a)) * (1 - abs(columns - b))
                    a_in = min(max(a, 0), padded.shape[1] - 1)
                    b_in = min(max(b, 0), padded.shape[2] - 1)
                    value += weight * float(padded[channel, a_in, b_in])
            return value

        i, j = (2 * (v + (size - 1) / 2 + margin) for v, size in ((y, h), (x, w)))
        value = 0.0
        for a in (math.floor(i), math.floor(i) + 1):
            for b in (math.floor(j), math.floor(j) + 1):
                value += (1 - abs(i - a)) * (1 - abs(j - b)) * pixel(a, b)
        return value

    for channel, row, column in ((0, 2, 3), (1, 3, 4), (0, 3, 2)):
        expected = 0.0
        for m in range(12):
            for k in range(12):
                y = row - (h - 1) / 2 - geometric.RESULT_REACH[0] + m / 2
                x = column - (w - 1) / 2 - geometric.RESULT_REACH[0] + k / 2
                place = maps @ torch.tensor([x, y, 1.0], dtype=torch.float64)
                weight = float(taps[m] * taps[k])
                expected += weight * fine(channel, float(place[0]), float(place[1]))
        assert float(found[0, channel, row, column]) == pytest.approx(expected, abs=1e-9)


def test_smooth_features_are_flipped_and_turned_as_images_are():
    smooth = F.interpolate(torch.randn(2, 3, 3, 3).double(), size=(16, 16), mode='bicubic')
    ones = torch.ones(2).double()
    for inverse, move in (
        (geometric.scaling(-ones, ones), lambda f: f.flip(3)),
        (geometric.quarter_turns(ones), lambda f: f.rot90(1, dims=(2, 3))),
    ):
        found, expected = geometric.move_features(smooth, inverse, width=64), move(smooth)
        assert (found - expected).abs().mean() < 0.1 * (smooth - expected).abs().mean()
        image = geometric.apply(smooth, *reversed(geometric.plan(inverse, 16, 16)))
        assert (found - image).abs().mean() < 0.1 * (smooth - expected).abs().mean()
