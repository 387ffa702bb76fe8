"""Tests of counting multiply-adds: small networks show the rule, and the papers' networks confirm it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from extensions.ifgan import Fusion
from torch_utils.macs import count_macs, format_macs
from torch_utils.ops import dispatch
from torch_utils.ops.toolchain import build
from torch_utils.ops.upfirdn2d import downsample2d, setup_filter, upsample2d
from training.build import build_networks
from training.interface import ImageSpec
from training.networks.synthesis import SynthesisLayer
from training.registry import RECIPES

RECIPES.load_all()


def networks(name: str, resolution: int, **options: Any) -> tuple[torch.nn.Module, torch.nn.Module]:
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)
    cfg = RECIPES.get(name).make(spec, 1)
    with torch.device('meta'):
        return build_networks(replace(cfg, generator=replace(cfg.generator, **options)), spec)


def of_g(G: torch.nn.Module) -> int:
    return count_macs(G, torch.zeros(1, G.z_dim), torch.zeros(1, 0))


def of_d(D: torch.nn.Module) -> int:
    return count_macs(D, torch.zeros(1, 3, D.img_resolution, D.img_resolution), torch.zeros(1, 0))


class Resample(torch.nn.Module):
    """A FIR filter of 4x4 taps around a change of resolution."""

    def __init__(self, resample: Any) -> None:
        super().__init__()
        self.resample = resample
        self.register_buffer('f', setup_filter([1, 3, 3, 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resample(x, self.f)


X = torch.zeros(2, 4, 8, 8)


@pytest.mark.parametrize(
    ('net', 'x', 'expected'),
    [
        (torch.nn.Linear(5, 3), torch.zeros(2, 5), 2 * 5 * 3),
        (torch.nn.Conv2d(4, 6, 3, padding=1), X, 2 * 8 * 8 * 4 * 6 * 9),
        (torch.nn.Conv2d(4, 6, 5, padding=4, dilation=2), X, 2 * 8 * 8 * 4 * 6 * 25),
        (torch.nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2), X, 2 * 4 * 4 * 4 * 2 * 9),
        (torch.nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), X, 2 * 8 * 8 * 4 * 6 * 16),
        (Resample(downsample2d), X, 2 * 4 * 4 * 4 * 16),
        (Resample(upsample2d), X, 2 * 4 * 8 * 8 * 16),
        (torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.AvgPool2d(2)), X, 0),
    ],
    ids=['linear', 'conv', 'dilated', 'strided and grouped', 'transposed', 'downsample', 'upsample', 'point-wise'],
)
def test_small_networks_have_the_multiply_adds_of_their_formula(net, x, expected):
    assert count_macs(net, x) == expected


# The prototype behind these numbers (in 10^9) differs in three points: its demodulation is not a matrix product, it
# filters the image after inserting zeros, and D's skip before dropping pixels.
PROTOTYPE = [
    ('paper256', 256, {}, 15.04),
    ('squeeze', 256, {'ratio': 4}, 10.98),
    ('squeeze', 256, {}, 8.68),
    ('squeeze', 256, {'ratio': 16}, 7.53),
    ('squeeze', 256, {'blend': False}, 6.90),
    ('squeeze', 256, {'rgb': 'pre'}, 8.40),
    ('squeeze', 256, {'rgb': 'excite'}, 9.00),
    ('cifar', 32, {}, 4.02),
    ('squeeze', 32, {}, 1.50),
]


@pytest.mark.parametrize(('name', 'resolution', 'options', 'expected'), PROTOTYPE)
def test_generators_have_the_prototypes_multiply_adds(name, resolution, options, expected):
    G, _ = networks(name, resolution, **options)
    layers = [m for m in G.modules() if isinstance(m, SynthesisLayer)]
    demodulation = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in layers)
    zeros = sum(3 * 16 * (res**2 - (res // 2) ** 2) for res in G.synthesis.resolutions[1:])
    assert round((of_g(G) - demodulation + zeros) / 1e9, 2) == expected


def test_discriminators_have_the_prototypes_multiply_adds():
    assert round(of_d(networks('cifar', 32)[1]) / 1e9, 2) == 4.02
    _, D = networks('paper256', 256)
    skips = [getattr(D, f'b{res}').skip.weight.shape[1] * (res**2 - (res // 2) ** 2) for res in D.resolutions]
    assert round((of_d(D) + 16 * sum(skips)) / 1e9, 2) == 15.64


def test_igan_has_its_multiply_adds():
    G, D = networks('igan', 64)
    assert (of_g(G), of_d(D)) == (479_346_688, 137_039_872)


@pytest.mark.parametrize('name', RECIPES.names())
def test_every_architecture_can_be_counted(name):
    for net, count in zip(networks(name, 64), (of_g, of_d), strict=True):
        assert count(net) > 0


def test_counting_leaves_the_network_and_the_generator_of_random_numbers_alone():
    spec = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1)
    G, D = build_networks(RECIPES.get('igan').make(spec, 1), spec)
    before = copy.deepcopy([*G.state_dict().items(), *D.state_dict().items()])
    state = torch.get_rng_state()
    assert of_g(G) == of_g(networks('igan', 32)[0])
    assert of_d(D) == of_d(networks('igan', 32)[1])
    for (name, old), new in zip(before, [*G.state_dict().values(), *D.state_dict().values()], strict=True):
        assert torch.equal(old, new), name
    assert torch.equal(torch.get_rng_state(), state)


def test_the_count_is_the_references_where_native_operations_are_the_default():
    if problem := build.load_cpu().problem:
        pytest.skip(f'no native operations: {problem}')
    with dispatch.default('cpu'):
        assert count_macs(Resample(upsample2d), X) == 2 * 4 * 8 * 8 * 16


def test_counts_are_shown_in_millions_and_thousands_of_millions():
    assert [format_macs(n) for n in (479_346_688, 15_034_601_216)] == ['479.35 M', '15.03 G']


@pytest.mark.parametrize(
    ('resolution', 'conv', 'plain_shortcut', 'gconv', 'd'),
    [(32, 1.593, 1.769, 1.769, 0.269), (128, 7.08, 7.65, 7.70, 3.76), (256, 8.95, 9.66, 9.72, 4.70)],
)
def test_gconvs_networks_are_those_of_the_specification(resolution, conv, plain_shortcut, gconv, d):
    """The specification's figures have plain 1x1 shortcuts; the recipe's own have GConv there, too."""
    digits = 3 if resolution == 32 else 2
    rows = (
        ({'convolution': 'conv'}, conv),
        ({'gconv_shortcut': False}, plain_shortcut),
        ({}, gconv),
    )
    for options, expected in rows:
        G, D = networks('gconv', resolution, **options)
        assert round(of_g(G) / 1e9, digits) == expected, options
        assert round(of_d(D) / 1e9, digits) == d


@pytest.mark.parametrize(
    ('options', 'at_128', 'at_256'),
    [
        ({}, 10.46, 13.58),
        ({'fuse': 'sum'}, 7.32, 9.30),
        ({'fuse': 'concat'}, 8.07, 10.25),
        ({'latent': False}, 7.05, 8.90),
    ],
)
def test_if_gans_generator_as_its_equations_stand(monkeypatch, options, at_128, at_256):
    """The plain gates take more than those that run.

    Without feedback, the 1x1 convolution runs before up-sampling: 8.23, not 8.43.
    """
    monkeypatch.setattr(Fusion, 'forward', Fusion.plain)
    for resolution, expected in ((128, at_128), (256, at_256)):
        assert round(of_g(networks('ifgan', resolution, **options)[0]) / 1e9, 2) == expected
