"""Tests of conv2d_resample against filter, convolution and filter, one after the other."""

from __future__ import annotations

import pytest
import torch.nn.functional as F

from tests.support.operations import assert_equal, rand
from torch_utils.ops.conv2d_resample import conv2d_resample
from torch_utils.ops.upfirdn2d import setup_filter, upfirdn2d


@pytest.mark.parametrize('k', [1, 3])
@pytest.mark.parametrize(('up', 'down'), [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2)])
@pytest.mark.parametrize('flip_weight', [True, False])
@pytest.mark.parametrize('taps', [[1, 3, 3, 1], [1, 2, 1], None])
def test_conv2d_resample_is_filter_convolve_filter(
    k: int, up: int, down: int, flip_weight: bool, taps: list | None
) -> None:
    x, w = rand(2, 3, 8, 8), rand(4, 3, k, k, seed=1)
    f = None if taps is None else setup_filter(taps).double()
    y = conv2d_resample(x, w, f, up, down, k // 2, flip_weight)
    n = 1 if taps is None else len(taps)
    p0 = k // 2 + ((n + up - 1) // 2 if up > 1 else 0) + ((n - down + 1) // 2 if down > 1 else 0)
    p1 = k // 2 + ((n - up) // 2 if up > 1 else 0) + ((n - down) // 2 if down > 1 else 0)
    z = upfirdn2d(x, f if up > 1 else None, up=up, padding=[p0, p1, p0, p1], gain=up**2)
    z = F.conv2d(z, w if flip_weight else w.flip([2, 3]))
    z = upfirdn2d(z, f if down > 1 else None, down=down)
    assert y.shape[2:] == (8 * up // down,) * 2
    assert_equal(y, z)
