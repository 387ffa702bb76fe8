"""Noise maps: their regularizer in another way, their normalization, and that images do not share them."""

import numpy as np
import pytest
import torch

from ganfoundry.projection.noise_maps import draw_maps, normalize_, regularizer


def expected(noise):
    """The formula of Appendix D for one map [r, r], in NumPy."""
    total = 0.0
    while True:
        total += np.mean(noise * np.roll(noise, 1, axis=1)) ** 2 + np.mean(noise * np.roll(noise, 1, axis=0)) ** 2
        if len(noise) <= 8:
            return total
        noise = noise.reshape(len(noise) // 2, 2, -1, 2).mean(axis=(1, 3)) * 2


def test_the_regularizer_is_that_of_the_paper():
    maps = {'a': torch.randn(2, 1, 32, 32), 'b': torch.randn(2, 1, 4, 4)}
    sums = [expected(maps['a'][i, 0].double().numpy()) + expected(maps['b'][i, 0].double().numpy()) for i in range(2)]
    assert regularizer(maps).tolist() == pytest.approx(sums, rel=1e-4)


def test_white_noise_is_penalized_less_than_smooth_noise():
    white = torch.randn(1, 1, 32, 32)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(1, 1, 34, 34), 3, stride=1) * 3
    assert regularizer({'a': white}) < regularizer({'a': smooth})


def test_each_map_is_normalized_by_itself():
    maps = {'a': torch.randn(2, 1, 8, 8) * 3 + 1}
    normalize_(maps)
    assert maps['a'].mean(dim=(2, 3)).flatten().tolist() == pytest.approx([0, 0], abs=1e-6)
    assert maps['a'].square().mean(dim=(2, 3)).flatten().tolist() == pytest.approx([1, 1], abs=1e-5)


def test_every_image_begins_with_the_same_maps_of_its_own(peeps):
    maps = draw_maps(peeps.module, 2, seed=0)
    assert len(maps) == sum(name.endswith('noise_const') for name, _ in peeps.module.named_buffers()) > 0
    for noise in maps.values():
        assert torch.equal(noise[0], noise[1])
        assert noise.is_leaf
        assert noise.requires_grad
        assert noise[0].data_ptr() != noise[1].data_ptr()
