"""GIU-GANs and its baselines have the paper's parameters and FLOPs, those counted by the rules of its counter.

The printed FLOPs are THOP 0.0.31's, which are not multiply-adds: a transposed convolution is counted on its output's
grid, functions that are no module count nothing, and an RBN is two poolings. What is left between the paper and these
networks is 0.06 % at worst.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from extensions.layers.giu import GIU
from ganfoundry.inspection.thop import count_thop
from torch_utils.summary import count
from training.build import build_networks
from training.interface import ImageSpec
from training.registry import RECIPES

LOW, MIDDLE, HIGH = {'place': 'low'}, {'place': 'middle'}, {'place': 'high'}


def networks(name: str, resolution: int, g: dict | None = None, d: dict | None = None, label_dim: int = 0) -> list:
    spec = ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=1)
    cfg = RECIPES.get(name).make(spec, 1)
    cfg = dataclasses.replace(
        cfg,
        generator=dataclasses.replace(cfg.generator, **(g or {})),
        discriminator=dataclasses.replace(cfg.discriminator, **(d or {})),
    )
    return list(build_networks(cfg, spec))


# changes of either network at 32x32: G, D
COUNTS_32 = [
    ({'place': 'none', 'rbn': 'none'}, {'place': 'none'}, 1_184_067, 662_977),
    ({}, {}, 1_219_155, 697_105),
    ({'rbn': 'none'}, {}, 1_218_195, 697_105),
    ({'place': 'none'}, {'place': 'none'}, 1_185_027, 662_977),
    (MIDDLE, MIDDLE, 1_193_643, 671_593),
    (HIGH, HIGH, 1_187_223, 665_173),
    ({'place': 'both_ends'}, {'place': 'both_ends'}, 1_221_351, 699_301),
    ({'place': 'all'}, {'place': 'all'}, 1_229_967, 707_917),
    ({'k': 5}, {'k': 5}, 1_235_795, 713_745),
    ({'k': 7}, {'k': 7}, 1_260_755, 738_705),
    ({'group_channels': 8}, {'group_channels': 8}, 1_228_515, 706_465),
    ({'group_channels': 32}, {'group_channels': 32}, 1_214_475, 692_425),
]


@pytest.mark.parametrize(('g', 'd', 'expected_g', 'expected_d'), COUNTS_32)
def test_every_variant_at_32_has_its_number_of_parameters(g: dict, d: dict, expected_g: int, expected_d: int) -> None:
    with torch.device('meta'):
        G, D = networks('giu', 32, g, d)
    assert (count(G)[0], count(D)[0]) == (expected_g, expected_d)


COUNTS = [
    ('giu-base', 32, 1_184_067, 662_977),
    ('giu-base', 64, 3_807_043, 2_764_737),
    ('giu-base', 128, 8_002_883, 6_959_553),
    ('giu-base', 256, 12_198_723, 11_154_369),
    ('giu-base', 512, 16_394_563, 15_349_185),
    ('giu-base', 1024, 20_590_403, 19_544_001),
    ('giu', 64, 3_978_739, 2_934_705),
    ('giu', 128, 8_310_419, 7_265_361),
    ('giu', 256, 12_642_099, 11_596_017),
    ('giu', 512, 16_973_779, 15_926_673),
    ('giu', 1024, 21_305_459, 20_257_329),
    ('giu-norbn', 64, 3_977_011, 2_934_705),
]


@pytest.mark.parametrize(('name', 'resolution', 'expected_g', 'expected_d'), COUNTS)
def test_every_size_has_its_number_of_parameters(name: str, resolution: int, expected_g: int, expected_d: int) -> None:
    with torch.device('meta'):
        G, D = networks(name, resolution)
    assert (count(G)[0], count(D)[0]) == (expected_g, expected_d)


MODULE_COUNTS = [
    (64, {}, 2_196),
    (128, {}, 8_616),
    (256, {}, 34_128),
    (512, {}, 135_840),
    (256, {'k': 5}, 50_768),
    (256, {'k': 7}, 75_728),
    (256, {'group_channels': 8}, 43_488),
    (256, {'group_channels': 32}, 29_448),
    (256, {'kernel_norm': 'none'}, 34_000),
]


@pytest.mark.parametrize(('channels', 'options', 'expected'), MODULE_COUNTS)
def test_a_giu_module_has_its_number_of_parameters(channels: int, options: dict, expected: int) -> None:
    assert count(GIU(channels, **options))[0] == expected


def counted_ops(nets: list[torch.nn.Module]) -> int:
    """Returns what THOP 0.0.31 would print for one image through G and D."""
    G, D = nets
    return count_thop(G, torch.zeros(1, G.z_dim), torch.zeros(1, 0)) + count_thop(
        D, torch.zeros(1, 3, G.img_resolution, G.img_resolution), torch.zeros(1, 0)
    )


def both(**changes: Any) -> tuple[dict, dict]:
    return changes, changes


# --cfg, changes of G and of D, printed FLOPs (M; None: no row prints it), FLOPs (M), parameters
FLOPS_32 = [
    ('giu-base', ({}, {}), 96.36, 96.35738, 1_847_044),
    ('sngan', ({}, {}), 96.36, 96.35738, 1_847_044),
    ('wgan-gp', ({}, {}), 96.39, 96.38605, 1_847_044),
    ('giu-nogiu', ({}, {}), 96.36, 96.35802, 1_848_004),
    ('giu', ({}, {}), 97.23, 97.21306, 1_916_260),
    ('giu-norbn', ({}, {}), 97.22, 97.21242, 1_915_300),
    ('giu', both(place='middle'), 97.24, 97.21946, 1_865_236),
    ('giu', both(place='high'), None, 97.25414, 1_852_396),  # what "Shallow D and Deep G", printed 98.15, would be ...
    ('giu', both(place='both_ends'), 98.15, 98.10918, 1_920_652),  # ... and what was measured under that name
    ('giu', both(place='all'), 99.03, 98.97062, 1_937_884),
    ('giu', ({}, {'place': 'none'}), 96.79, 96.78554, 1_882_132),
    ('giu', ({'place': 'none'}, {}), 96.79, 96.78554, 1_882_132),
    ('giu', both(k=5), 97.76, 97.74554, 1_949_540),
    ('giu', both(k=7), 98.56, 98.54426, 1_999_460),
    ('giu', both(group_channels=8), 97.52, 97.51258, 1_934_980),
    ('giu', both(group_channels=32), 97.08, 97.06330, 1_906_900),
    ('sagan', ({}, {}), 101.65, 101.64634, 1_975_768),
    ('dcgan', ({}, {}), 309.24, 309.2398, 4_341_248),
    ('lsgan', ({}, {}), 117.25, 117.2495, 1_149_284),
]
FLOPS_64 = [
    ('giu-base', ({}, {}), 536.48, 536.45722, 6_571_780),
    ('sngan', ({}, {}), 536.48, 536.45722, 6_571_780),
    ('wgan-gp', ({}, {}), 536.58, 536.58010, 6_571_780),
    ('giu', ({}, {}), 543.28, 543.20909, 6_913_444),
    ('giu', both(place='4'), None, 539.83962, 6_845_188),
    ('giu-norbn', ({}, {}), 543.28, 543.20794, 6_911_716),
    ('sagan', ({}, {}), 557.58, 557.58234, 7_008_184),
    ('wgan-gp+2', ({}, {}), 687.72, 687.722, 12_473_092),
    ('wgan-gp+3', ({}, {}), 763.48, 763.482, 12_657_860),  # printed 764.48
    ('lsgan', ({}, {}), 694.48, 694.478, 1_888_612),
]


def check_row(resolution: int, row: tuple, tolerance: float) -> None:
    name, (g, d), printed, plain, params = row
    nets = networks(name, resolution, g, d)
    assert sum(count(net)[0] for net in nets) == params
    mega = counted_ops(nets) / 1e6
    digits = len(str(plain).split('.')[1])
    assert round(mega, digits) == plain
    if printed is not None:
        assert abs(mega - printed) <= tolerance * printed


@pytest.mark.parametrize('row', FLOPS_32, ids=str)
def test_flops_at_32_are_the_printed_ones(row: tuple) -> None:
    worst = row[1] in (both(place='both_ends'), both(place='all'), both(place='middle'))
    check_row(32, row, 0.0006 if worst else 0.0002)


@pytest.mark.parametrize('row', FLOPS_64, ids=str)
def test_flops_at_64_are_the_printed_ones(row: tuple) -> None:
    check_row(64, row, 0.00015)
