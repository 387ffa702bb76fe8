"""The squeeze generator has the sizes of the paper's reading, no dead parameters, and is a StyleGenerator."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.squeeze import SqueezeConfig, SqueezeGenerator
from training.interface import ImageSpec, StyleGenerator
from training.networks.layers import set_precision


def build(resolution: int, **options: Any) -> SqueezeGenerator:
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1)
    return SqueezeGenerator(SqueezeConfig(**options), spec)


COUNTS = [
    ({'ratio': 4}, 24_019_644, 23_757_758, 26_380_223),
    ({'ratio': 8}, 21_809_908, 20_892_278, 23_514_743),
    ({'ratio': 16}, 20_705_040, 19_459_538, 22_082_003),
    ({'ratio': 8, 'blend': False}, 18_101_359, 16_133_616, 18_756_081),
    ({'ratio': 2}, 28_439_116, 29_488_718, 32_111_183),
    ({'ratio': 8, 'rgb': 'pre'}, 22_668_235, 21_981_773, 24_604_238),
    ({'ratio': 8, 'rgb': 'excite'}, 22_714_461, 22_027_999, 24_650_464),
]


@pytest.mark.parametrize(('options', 'plain', 'const', 'conv'), COUNTS)
def test_every_reading_has_its_number_of_parameters(options: dict, plain: int, const: int, conv: int) -> None:
    for b4, expected in (('plain', plain), ('const', const), ('conv', conv)):
        with torch.device('meta'):
            G = build(256, channel_base=16384, b4=b4, **options)
        assert sum(p.numel() for p in G.parameters()) == expected


@pytest.mark.parametrize(('ratio', 'expected'), [(4, 17_455_767), (8, 15_816_279), (16, 14_996_535)])
def test_cifar_has_its_number_of_parameters(ratio: int, expected: int) -> None:
    with torch.device('meta'):
        G = build(32, ratio=ratio, map_depth=2)
    assert sum(p.numel() for p in G.parameters()) == expected
    assert G.num_ws == 12


def test_blocks_at_256_have_2496_channels_and_24_ws() -> None:
    with torch.device('meta'):
        G = build(256, channel_base=16384)
    blocks = list(G.synthesis.blocks())
    widths = [(blocks[0].conv1 if i == 0 else block.conv0).weight.shape[0] for i, block in enumerate(blocks)]
    assert sum(widths) == 2496
    assert [block.squeeze.weight.shape[0] for block in blocks[1:]] == [64, 64, 64, 32, 16, 8]
    assert G.num_ws == 24


@pytest.mark.parametrize('rgb', ['squeeze', 'pre', 'excite'])
@pytest.mark.parametrize('blend', [True, False])
@pytest.mark.parametrize('b4', ['plain', 'const', 'conv'])
def test_every_parameter_gets_a_gradient_and_every_w_is_read(rgb: str, blend: bool, b4: str) -> None:
    torch.manual_seed(0)
    G = build(16, z_dim=8, w_dim=8, map_depth=2, channel_base=256, channel_max=16, rgb=rgb, blend=blend, b4=b4)
    assert isinstance(G, StyleGenerator)
    ws = G.mapping(torch.randn(2, 8), torch.zeros(2, 0))
    ws.retain_grad()
    img = G.synthesis(ws)
    assert img.shape == (2, 3, 16, 16)
    img.square().sum().backward()
    for name, p in G.named_parameters():
        assert p.grad is not None, name
        assert float(p.grad.abs().sum()) > 0, name
    assert bool((ws.grad.abs().sum([0, 2]) > 0).all())


def test_squeezed_width_is_at_least_one_channel() -> None:
    G = build(8, channel_base=64, channel_max=4, ratio=8)
    assert G.synthesis.b8.squeeze.weight.shape[0] == 1


@torch.no_grad()
def test_bfloat16_stays_close_to_float32() -> None:
    torch.manual_seed(0)
    G = build(32, z_dim=16, w_dim=16, map_depth=2, channel_base=1024, channel_max=32)
    ws = G.mapping(torch.randn(4, 16), None)
    expected = G.synthesis(ws, noise_mode='none')
    set_precision(G, torch.bfloat16)
    img = G.synthesis(ws, noise_mode='none')
    assert 0 < float((img - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'ratio': 0}, 'ratio=0: must be at least 1'),
        ({'rgb': 'post'}, 'rgb=post: one of squeeze, pre, excite'),
        ({'b4': 'none'}, 'b4=none: one of plain, const, conv'),
        ({'architecture': 'orig'}, 'architecture=orig: squeeze is defined for skip alone'),
        ({'channel_max': 0}, 'channel_max=0: must be at least 1'),
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SqueezeConfig(**options)
