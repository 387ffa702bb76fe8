"""The squeeze generator has the sizes of the paper's reading, no dead parameters, and is a StyleGenerator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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


class Shapes(TorchDispatchMode):
    """Collects the shapes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.seen |= {tuple(t.shape) for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)}
        return out


@pytest.mark.parametrize('channels', [2, 16])  # kernels for every sample, or none, at 8x8
def test_blend_is_that_of_the_concatenation_which_is_not_made(channels: int) -> None:
    torch.manual_seed(0)
    G = build(16, z_dim=8, w_dim=8, map_depth=2, channel_base=1024, channel_max=channels).double()
    blend = G.synthesis.b8.blend
    f_i, f_e = (torch.randn(3, channels, 8, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    w = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    with Shapes() as made:
        y = blend([f_i, f_e], w, 'const')
        inputs = [f_i, f_e, w, *blend.parameters()]
        grads = torch.autograd.grad(y, inputs, torch.ones_like(y))
    assert (3, channels, 8, 8) in made.seen
    assert (3, 2 * channels, 8, 8) not in made.seen
    assert (3, 64, 2 * channels) not in made.seen  # the same as a matrix
    plain = blend(torch.cat([f_i, f_e], dim=1), w, 'const')
    torch.testing.assert_close(y, plain, rtol=0, atol=1e-12)
    for actual, expected in zip(grads, torch.autograd.grad(plain, inputs, torch.ones_like(y)), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12 * max(float(expected.abs().max()), 1))


@torch.no_grad()
def test_the_generator_makes_no_features_of_twice_the_channels() -> None:
    G = build(32, z_dim=8, w_dim=8, map_depth=2, channel_base=1024, channel_max=12)
    with Shapes() as made:
        G.synthesis(G.mapping(torch.randn(3, 8), torch.zeros(3, 0)))
    for size in (8, 16):
        assert (3, 12, size, size) in made.seen
        assert (3, 24, size, size) not in made.seen


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
        ({'architecture': 'orig'}, 'architecture=orig: squeeze is defined for skip only'),
        ({'channel_max': 0}, 'channel_max=0: must be at least 1'),
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SqueezeConfig(**options)
