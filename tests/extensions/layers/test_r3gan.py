"""R3GAN's resampling against golden numbers, and the initialization of its blocks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from extensions.layers.r3gan import ResidualBlock, conv, linear, resample_filter
from torch_utils.ops.upfirdn2d import downsample2d, upsample2d


def test_resampling_is_the_golden_one_in_float64(golden: Path) -> None:
    with np.load(golden / 'r3gan_resamplers.npz', allow_pickle=False) as file:
        t = {name: torch.from_numpy(file[name]) for name in file if name != 'meta'}
        filters = json.loads(str(file['meta']))
    for i, taps in enumerate(filters):
        f = resample_filter(taps)
        for name, resample in (('up', upsample2d), ('down', downsample2d)):
            key, x = f'{i}.{name}', t['x'].clone().requires_grad_(True)
            assert torch.equal(f, t[f'{key}.kernel'])
            y = resample(x, f)
            torch.testing.assert_close(y, t[f'{key}.y'], rtol=1e-12, atol=1e-12)
            (dx,) = torch.autograd.grad(y, x, t[f'{key}.dy'])
            torch.testing.assert_close(dx, t[f'{key}.dx'], rtol=1e-12, atol=1e-12)


def test_weights_begin_at_the_scale_of_fixup() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(64, expansion=2, group_channels=16, num_blocks=8)
    assert block.conv2.weight.shape == (128, 16, 3, 3)
    for layer in (block.conv1, block.conv2):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() * math.sqrt(fan_in) == pytest.approx(0.824567, rel=0.03)
    assert not block.conv3.weight.any()
    assert not block.act1.bias.any()
    x = torch.randn(2, 64, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize('layer', [conv(48, 64, 1, gain=0.5), linear(48, 64, gain=0.5)])
def test_other_layers_have_their_gain_over_the_root_of_fan_in(layer: torch.nn.Module) -> None:
    assert layer.bias is None
    assert layer.weight.std().item() * math.sqrt(48) == pytest.approx(0.5, rel=0.1)
