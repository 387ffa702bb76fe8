"""IGAN has the sizes of the plan, its modules are what the paper describes, and its discriminator stays finite."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from extensions.igan import (
    ConvNorm,
    IganDiscriminator,
    IganDiscriminatorConfig,
    IganGenerator,
    IganGeneratorConfig,
    igan,
)
from torch_utils.summary import count
from training.interface import ImageSpec
from training.networks.layers import set_precision

SMALL = {'module_res': (8, 16), 'widths': (8, 4), 'channel_max': 24, 'stem': 8}


def spec(resolution: int = 32, label_dim: int = 0) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=1)


def generator(resolution: int = 32, label_dim: int = 0, **options: Any) -> IganGenerator:
    return IganGenerator(IganGeneratorConfig(**options), spec(resolution, label_dim))


def discriminator(resolution: int = 32, label_dim: int = 0, **options: Any) -> IganDiscriminator:
    return IganDiscriminator(IganDiscriminatorConfig(**options), spec(resolution, label_dim))


def small(label_dim: int = 0, **options: Any) -> tuple[IganGenerator, IganDiscriminator]:
    """Returns G and D of 32x32 with few channels; an option goes to the networks that have it."""
    torch.manual_seed(0)
    of_g, of_d = (
        {k: v for k, v in options.items() if k in {field.name for field in fields(cls)}}
        for cls in (IganGeneratorConfig, IganDiscriminatorConfig)
    )
    G = generator(label_dim=label_dim, **{**SMALL, 'z_dim': 8, 'tail': 8, **of_g})
    return G, discriminator(label_dim=label_dim, **{**SMALL, **of_d})


def latents(label_dim: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, 8), F.one_hot(torch.arange(4) % 3, 3).float()[:, :label_dim]


# 'modules at 8 and 16': the integer needs 256 channels before the first module; at 32x32 it needs the plan's 128.
COUNTS = [
    ({}, {}, 1_169_347, 1_402_753),
    ({'dilation': 1}, {'dilation': 1}, 1_169_347, 1_402_753),
    ({'branches': '135'}, {'branches': '135'}, 1_128_195, 1_238_721),
    ({'branches': '13p'}, {'branches': '13p'}, 1_000_003, 1_110_529),
    ({'reduce': 2}, {'reduce': 2}, 1_065_731, 1_305_281),
    ({}, {'norm': 'none'}, 1_169_347, 1_401_665),
    ({}, {'down': 'conv'}, 1_169_347, 1_550_465),
    ({'module_res': (8, 16), 'stem': 256}, {}, 1_386_563, 1_402_753),
    ({'widths': (64, 64)}, {'widths': (64, 64)}, 1_380_675, 1_548_545),
    ({'sn': False, 'up': 'bilinear', 'dropout': 0.3}, {'sn': False, 'dropout': 0}, 1_169_347, 1_402_753),
]


@pytest.mark.parametrize(('of_g', 'of_d', 'g_count', 'd_count'), COUNTS)
def test_every_variant_has_its_number_of_parameters(of_g: dict, of_d: dict, g_count: int, d_count: int) -> None:
    with torch.device('meta'):
        assert count(generator(64, **of_g))[0] == g_count
        assert count(discriminator(64, **of_d))[0] == d_count


@pytest.mark.parametrize(
    ('resolution', 'g_count', 'd_count'),
    [(32, 1_021_635, 812_417), (128, 1_206_339, 1_439_745), (256, 1_243_331, 1_476_737)],
)
def test_every_resolution_has_its_number_of_parameters(resolution: int, g_count: int, d_count: int) -> None:
    cfg = igan(spec(resolution), 1)
    with torch.device('meta'):
        assert count(IganGenerator(cfg.generator, spec(resolution)))[0] == g_count
        assert count(IganDiscriminator(cfg.discriminator, spec(resolution)))[0] == d_count


def test_the_parts_have_their_number_of_parameters() -> None:
    G, D = generator(64), discriminator(64)
    assert count(G.fc)[0] + count(G.norm)[0] == 410_112
    parts = {'inception16': 172_800, 'inception32': 67_968}
    assert {name: count(getattr(G.trunk.layers, name))[0] for name in parts} == parts
    parts = {'inception32': 43_392, 'inception16': 172_800}
    assert {name: count(getattr(D.trunk.layers, name))[0] for name in parts} == parts


def test_modules_stand_at_16_and_32_at_every_size_but_the_smallest() -> None:
    for resolution in (32, 64, 128, 1024):
        cfg = igan(spec(resolution), 1)
        expected = (8, 16) if resolution == 32 else (16, 32)
        assert cfg.generator.module_res == cfg.discriminator.module_res == expected
        assert cfg.batch_gpu == {32: 64, 64: 64, 128: 64, 1024: 4}[resolution]


def slow_conv(x: torch.Tensor, unit: ConvNorm) -> torch.Tensor:
    """Computes ConvNorm in training mode, tap by tap."""
    w, d = unit.conv.weight, unit.conv.dilation[0]
    p = d * (w.shape[2] // 2)
    padded = F.pad(x, (p, p, p, p))
    y = torch.zeros(x.shape[0], w.shape[0], *x.shape[2:], dtype=x.dtype)
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            window = padded[:, :, i * d : i * d + x.shape[2], j * d : j * d + x.shape[3]]
            y += torch.einsum('oi,nihw->nohw', w[:, :, i, j], window)
    if unit.norm is None:
        y = y + unit.conv.bias[:, None, None]
    else:
        mean, var = y.mean([0, 2, 3], keepdim=True), y.var([0, 2, 3], correction=0, keepdim=True)
        y = (y - mean) / (var + unit.norm.eps).sqrt()
        y = y * unit.norm.weight[:, None, None] + unit.norm.bias[:, None, None]
    return torch.where(y > 0, y, unit.slope * y)


def slow_pool(x: torch.Tensor) -> torch.Tensor:
    """Returns the mean over those of 3x3 pixels that lie in the image."""
    y = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            y[:, :, i, j] = x[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean([2, 3])
    return y


@pytest.mark.parametrize('branches', ['135p', '135', '13p', '13'])
@pytest.mark.parametrize('dilation', [1, 2])
@pytest.mark.parametrize('norm', ['bn', 'none'])
def test_a_module_is_the_join_of_its_branches(branches: str, dilation: int, norm: str) -> None:
    _, D = small(branches=branches, dilation=dilation, norm=norm, sn=False, dropout=0.0, reduce=2)
    module = D.trunk.layers.inception8.double()
    x = torch.randn(3, module.conv1.conv.in_channels, 8, 8, dtype=torch.float64)
    parts = [slow_conv(x, module.conv1), slow_conv(slow_conv(x, module.conv3[0]), module.conv3[1])]
    if '5' in branches:
        parts.append(slow_conv(slow_conv(x, module.conv5[0]), module.conv5[1]))
    if 'p' in branches:
        parts.append(slow_conv(slow_pool(x), module.pool))
    expected = torch.cat(parts, dim=1)
    torch.testing.assert_close(module(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(('dilation', 'span'), [(1, 5), (2, 9)])
def test_the_5x5_branch_spans_5_pixels_or_9_with_dilation(dilation: int, span: int) -> None:
    unit = ConvNorm(1, 1, 5, slope=1, norm=False, dilation=dilation)
    torch.nn.init.ones_(unit.conv.weight)
    x = torch.zeros(1, 1, 21, 21, requires_grad=True)
    y = unit(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y[0, 0, 10, 10], x)
    rows, columns = gradient[0, 0].nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == span
    assert (rows.min() + rows.max()) / 2 == (columns.min() + columns.max()) / 2 == 10


VARIANTS = [
    {'branches': '13', 'dilation': 1},
    {'branches': '135', 'reduce': 2, 'up': 'bilinear'},
    {'norm': 'none', 'down': 'conv'},
    {'norm': 'none', 'sn': False, 'dropout': 0.0},
    {'sn': False, 'down': 'conv', 'dropout': 0.5},
    {'module_res': (4, 8)},
    {'module_res': (4, 16), 'down': 'conv'},
]


@pytest.mark.parametrize('options', VARIANTS, ids=str)
@pytest.mark.parametrize('label_dim', [0, 3])
def test_every_variant_draws_scores_and_has_no_dead_parameter(options: dict, label_dim: int) -> None:
    G, D = small(label_dim, **options)
    z, c = latents(label_dim)
    img = G(z, c)
    assert img.shape == (4, 3, 32, 32)
    assert img.abs().max() <= 1
    logits = D(img, c)
    assert logits.shape == (4, 1)
    logits.sum().backward()
    parameters = [*G.named_parameters(), *D.named_parameters()]
    assert [name for name, p in parameters if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_generators_modules_may_reach_the_image() -> None:
    G = generator(**{**SMALL, 'module_res': (16, 32)}, z_dim=8)
    assert G(*latents()).shape == (4, 3, 32, 32)


def test_spectral_norm_is_everywhere_in_d_and_outside_the_modules_in_g() -> None:
    def normalized(net: torch.nn.Module) -> set[str]:
        return {name.removesuffix('.u') for name, _ in net.named_buffers() if name.endswith('.u')}

    G, D = small(3)
    assert normalized(G) == {f'trunk.layers.conv{res}.conv.sn' for res in (8, 32)}
    weights = {name.removesuffix('weight') for name, p in D.named_parameters() if p.ndim > 1}
    assert {name.removesuffix('sn') for name in normalized(D)} == weights
    G, D = small(3, sn=False)
    assert normalized(G) == normalized(D) == set()


@pytest.mark.parametrize('norm', ['bn', 'none'])
@torch.no_grad()
def test_logits_and_loss_stay_finite_on_images_of_any_size(norm: str) -> None:
    _, D = small(norm=norm)
    loss = igan(spec(), 1).loss.build()
    for scale in (0.0, 1e4, -1e4):
        logits = D(torch.randn(4, 3, 32, 32) * scale, None)
        assert logits.isfinite().all()
        for term in (loss.discriminator_fake, loss.discriminator_real, loss.generator):
            assert term(logits).isfinite().all()


def test_the_loss_of_a_sure_discriminator_keeps_its_gradient() -> None:
    logits = torch.tensor([[17.0]], requires_grad=True)
    igan(spec(), 1).loss.build().discriminator_fake(logits).sum().backward()
    assert logits.grad.item() == 1


@torch.no_grad()
def test_dropout_is_random_in_training_and_off_in_evaluation() -> None:
    G, D = small(dropout=0.3, sn=False)
    z, c = latents()
    for net, x in ((G, z), (D, torch.randn(4, 3, 32, 32))):
        assert not torch.equal(net(x, c), net(x, c))
        repeated = [(torch.manual_seed(5), net(x, c))[1] for _ in range(2)]
        assert torch.equal(*repeated)
        net.eval()
        assert torch.equal(net(x, c), net(x, c))
    G, _ = small(sn=False)  # the recipe's: none in G
    assert torch.equal(G(z, c), G(z, c))


@torch.no_grad()
def test_truncation_scales_the_latent_and_not_the_label() -> None:
    G = small(3)[0].eval()
    z, c = latents(3)
    assert torch.equal(G(z, c, truncation_psi=0.5), G(z * 0.5, c))
    still = G(z, c, truncation_psi=0)
    assert torch.equal(still[0], still[3])  # the same class
    assert not torch.allclose(still[0], still[1])


def test_an_unknown_noise_mode_is_refused() -> None:
    G, _ = small()
    with pytest.raises(ValueError, match='noise_mode'):
        G(*latents(), noise_mode='loud')


@torch.no_grad()
def test_lower_precision_leaves_parameters_and_statistics_in_float32() -> None:
    G, D = small()
    seen = set()
    for net in (G, D):
        set_precision(net, torch.bfloat16)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Conv2d):
                module.register_forward_pre_hook(lambda m, args: seen.add((type(m).__name__, args[0].dtype)))
    logits = D(G(*latents()), None)
    assert logits.dtype == torch.float32
    assert seen == {('BatchNorm2d', torch.float32), ('Conv2d', torch.bfloat16)}


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (IganGeneratorConfig, {'module_res': (16,)}, r'module_res=\(16,\): must be two increasing powers of two'),
        (IganGeneratorConfig, {'module_res': (32, 16)}, 'must be two increasing powers of two'),
        (IganGeneratorConfig, {'widths': (64,)}, r'widths=\(64,\): must be two numbers, each at least 1'),
        (IganGeneratorConfig, {'reduce': 3}, r'reduce=3: must divide both widths, \(64, 32\)'),
        (IganGeneratorConfig, {'reduce': 0}, 'reduce=0: must be at least 1'),
        (IganGeneratorConfig, {'branches': '35p'}, 'branches=35p: one of 135p, 135, 13p, 13'),
        (IganGeneratorConfig, {'dilation': 3}, 'dilation=3: 1 or 2'),
        (IganGeneratorConfig, {'up': 'cubic'}, 'up=cubic: one of nearest, bilinear'),
        (IganGeneratorConfig, {'dropout': 1.0}, r'dropout=1.0: must lie in \[0, 1\)'),
        (IganDiscriminatorConfig, {'norm': 'gn'}, 'norm=gn: one of bn, none'),
        (IganDiscriminatorConfig, {'down': 'max'}, 'down=max: one of pool, conv'),
        (IganDiscriminatorConfig, {'stem': 0}, 'stem=0: must be at least 1'),
    ],
)
def test_an_option_that_cannot_work_is_named(config: type, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(**options)


def test_images_and_modules_that_do_not_fit_are_refused() -> None:
    for build in (generator, discriminator):
        for resolution in (16, 48):
            with pytest.raises(ConfigError, match=f'resolution={resolution}: must be a power of two, at least 32'):
                build(resolution)
    with pytest.raises(ConfigError, match=r'module_res=\(16, 64\): at most 32 for 32x32 images'):
        generator(module_res=(16, 64))
    with pytest.raises(ConfigError, match=r'module_res=\(16, 32\): at most 16 for 32x32 images'):
        discriminator()
