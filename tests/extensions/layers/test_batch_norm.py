"""BigBN: batch norm with a gain and a bias for every sample."""

from __future__ import annotations

import pytest
import torch

from extensions.layers.batch_norm import BigBN
from extensions.layers.spectral_norm import Linear
from tests.extensions.layers.test_gconv import largest


@pytest.mark.parametrize('classes', [0, 3])
def test_bigbn_is_batch_norm_with_a_gain_and_a_bias_for_every_sample(classes: int) -> None:
    torch.manual_seed(0)
    norm = BigBN(4, 6 + classes, lambda i, o: Linear(i, o, bias=False))
    x = torch.randn(5, 4, 3, 2) * 3 + 1
    v = torch.cat([torch.randn(5, 6), torch.eye(5, classes)], dim=1)
    expected = torch.empty_like(x)
    for channel in range(4):
        values = x[:, channel].double()
        normal = (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()
        for i in range(5):
            gain, shift = norm.gain.weight[channel] @ v[i], norm.shift.weight[channel] @ v[i]
            expected[i, channel] = normal[i] * (1 + gain) + shift
    assert largest(norm(x, v), expected) < 1e-5
    assert largest(norm.bn.running_mean, 0.1 * x.mean([0, 2, 3])) < 1e-6
    norm.eval()
    centred = x - norm.bn.running_mean[:, None, None]
    fixed = centred / (norm.bn.running_var[:, None, None] + 1e-5).sqrt()
    gain, shift = (layer(v)[:, :, None, None] for layer in (norm.gain, norm.shift))
    assert largest(norm(x, v), fixed * (1 + gain) + shift) < 1e-5
