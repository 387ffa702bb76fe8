"""StyleGAN3's modulated convolution has the official values and gradients; its input fills the disc of its cut-off."""

from __future__ import annotations

import pytest
import torch

from extensions.layers.stylegan3 import SynthesisInput, modulated_conv2d
from extensions.layers.stylegan3_plan import Signal
from tests.support.operations import NUM_CASES, assert_equal, load_golden


@pytest.mark.parametrize('case', range(NUM_CASES['stylegan3_modulated_conv2d']))
def test_values_and_gradients_of_the_convolution_are_the_official_ones(case: int) -> None:
    t, meta = load_golden('stylegan3_modulated_conv2d', case)
    leaves = [t[name].requires_grad_() for name in ('x', 'w', 's')]
    y = modulated_conv2d(*leaves, meta['demodulate'], meta['padding'], t.get('input_gain'))
    assert_equal(y, t['y'])
    for grad, name in zip(torch.autograd.grad(y, leaves, t['dy']), ('gx', 'gw', 'gs'), strict=True):
        assert_equal(grad, t[name])


def test_frequencies_are_uniform_in_the_disc_of_the_cutoff() -> None:
    torch.manual_seed(0)
    features = SynthesisInput(Signal(channels=4096, size=(4, 4), rate=16, cutoff=2.0, half_width=6.0), w_dim=3)
    area = (features.freqs.norm(dim=1) / 2).square().sort().values  # share of the disc's area inside: uniform in [0, 1]
    assert (area - (torch.arange(4096) + 0.5) / 4096).abs().max() < 0.03
    assert features.freqs.mean(dim=0).abs().max() < 0.1
    assert features.phases.min() >= -0.5
    assert features.phases.max() < 0.5
