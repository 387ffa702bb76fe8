"""The presets have the official numbers of parameters and buffers, and of ws."""

from __future__ import annotations

import pytest
import torch

from training.interface import ImageSpec
from training.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)

# preset, resolution, labels, channel_base, map_depth, D architecture: G (mapping, synthesis, buffers), D (all, buffers)
COUNTS = [
    ('cifar', 32, 0, 32768, 2, 'orig', (525_312, 19_422_227, 3_392), (20_720_641, 176)),
    ('cifar', 32, 10, 32768, 2, 'orig', (793_088, 19_422_227, 3_392), (23_089_664, 176)),
    ('auto', 32, 0, 16384, 2, 'resnet', (525_312, 19_422_227, 3_392), (21_507_073, 224)),
    ('auto', 64, 0, 16384, 2, 'resnet', (525_312, 21_718_296, 11_632), (23_407_361, 288)),
    ('auto', 128, 0, 16384, 2, 'resnet', (525_312, 22_423_965, 44_448), (23_882_369, 352)),
    ('auto', 256, 0, 16384, 2, 'resnet', (525_312, 22_666_210, 175_568), (24_001_089, 416)),
    ('auto', 256, 10, 16384, 2, 'resnet', (793_088, 22_666_210, 175_568), (26_370_112, 416)),
    ('paper256', 256, 0, 16384, 8, 'resnet', (2_101_248, 22_666_210, 175_568), (24_001_089, 416)),
    ('stylegan2', 256, 0, 32768, 8, 'resnet', (2_101_248, 27_933_090, 175_568), (28_864_129, 416)),
    ('auto', 512, 0, 32768, 2, 'resnet', (525_312, 28_175_335, 699_904), (28_982_849, 480)),
    ('paper512', 512, 0, 32768, 8, 'resnet', (2_101_248, 28_175_335, 699_904), (28_982_849, 480)),
    ('auto', 1024, 0, 32768, 2, 'resnet', (525_312, 28_268_812, 2_797_104), (29_012_513, 544)),
    ('paper1024', 1024, 0, 32768, 8, 'resnet', (2_101_248, 28_268_812, 2_797_104), (29_012_513, 544)),
]


def count(tensors: object) -> int:
    return sum(t.numel() for t in tensors)


@pytest.mark.parametrize('row', COUNTS, ids=lambda row: f'{row[0]}-{row[1]}-{row[2]}')
def test_networks_have_the_official_sizes(row: tuple) -> None:
    _, resolution, label_dim, base, map_depth, architecture, g_counts, d_counts = row
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=1)
    with torch.device('meta'):
        G = StyleGAN2Generator(StyleGAN2GeneratorConfig(channel_base=base, map_depth=map_depth), spec)
        D = StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(channel_base=base, architecture=architecture), spec)
    assert (count(G.mapping.parameters()), count(G.synthesis.parameters()), count(G.buffers())) == g_counts
    assert (count(D.parameters()), count(D.buffers())) == d_counts
    assert G.num_ws == 2 * resolution.bit_length() - 4  # 2 log2(resolution) - 2


@pytest.mark.parametrize(
    ('resolution', 'label_dim', 'base', 'map_depth', 'architecture', 'g_keys', 'd_keys'),
    [
        (256, 0, 16384, 2, 'resnet', 132, 64),
        (256, 0, 16384, 8, 'resnet', 144, 64),
        (512, 0, 32768, 2, 'resnet', 151, 73),
        (1024, 0, 32768, 2, 'resnet', 170, 82),
        (32, 10, 32768, 2, 'orig', 77, 49),
    ],
)
def test_state_dicts_have_the_official_number_of_keys(
    resolution: int, label_dim: int, base: int, map_depth: int, architecture: str, g_keys: int, d_keys: int
) -> None:
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=1)
    with torch.device('meta'):
        G = StyleGAN2Generator(StyleGAN2GeneratorConfig(channel_base=base, map_depth=map_depth), spec)
        D = StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(channel_base=base, architecture=architecture), spec)
    assert (len(G.state_dict()), len(D.state_dict())) == (g_keys, d_keys)
