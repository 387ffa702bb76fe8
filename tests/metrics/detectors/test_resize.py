"""TensorFlow 1's resize: the positions of its samples, and the difference from torch's own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.detectors.resize import resize_like_tensorflow


def row(values, size):
    x = torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1).expand(1, 1, len(values), -1)
    return resize_like_tensorflow(x, size)[0, 0, 0].tolist()


def test_samples_lie_at_multiples_of_the_ratio():
    assert row([0.0, 2.0], 4) == [0, 1, 2, 2]  # positions 0, 0.5, 1, 1.5, the last beyond the last pixel
    assert row([0.0, 1.0, 2.0, 3.0], 2) == [0, 2]
    assert row([0.0, 3.0, 6.0], 2) == [0, 4.5]


def test_the_same_size_changes_nothing():
    x = torch.rand(2, 3, 7, 7)
    assert torch.equal(resize_like_tensorflow(x, 7), x)


def test_half_pixel_centres_would_be_another_resize():
    x = torch.rand(1, 1, 5, 5)
    assert not torch.allclose(resize_like_tensorflow(x, 9), F.interpolate(x, size=(9, 9), mode='bilinear'))


@settings(max_examples=20, derandomize=True, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 60))
def test_it_is_the_formula_at_every_size(height, width, size):
    x = torch.rand(1, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = resize_like_tensorflow(x, size)[0, 0]
    assert found.shape == (size, size)
    for i, j in ((0, 0), (size - 1, size - 1), (size // 2, size // 3)):
        v, u = i * height / size, j * width / size
        top, left = min(int(v + 1e-5), height - 1), min(int(u + 1e-5), width - 1)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = x[0, 0, top, left] + (x[0, 0, top, right] - x[0, 0, top, left]) * (u - left)
        lower = x[0, 0, bottom, left] + (x[0, 0, bottom, right] - x[0, 0, bottom, left]) * (u - left)
        assert float(found[i, j]) == pytest.approx(float(upper + (lower - upper) * (v - top)), abs=1e-4)
