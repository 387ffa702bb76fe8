"""IF-GAN has the sizes of its specification, its gate computes Eq. 5-7, and the fast form is the plain one."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dnnlib.errors import ConfigError
from extensions.ifgan import Fusion, IFBlock, IFGANConfig, IFGenerator, NoisyConv, ifgan, traditional
from training.build import build_networks
from training.interface import Generator, ImageSpec, StyleGenerator
from training.networks.layers import set_precision
from training.registry import RECIPES

# The variants of Tables 2-4 and the readings: parameters of G at 128x128 and 256x256.
COUNTS = [
    ({}, 20_560_643, 20_675_459),
    ({'fuse': 'sum'}, 12_604_035, 12_648_771),
    ({'fuse': 'concat'}, 15_474_179, 15_531_267),
    ({'feedback': False}, 16_945_155, 17_010_179),
    ({'latent': False}, 12_425_731, 12_461_571),
    ({'shortcut': False}, 20_388_163, 20_500_899),
    ({'init': 'two_fc'}, 20_830_979, 20_945_795),
    ({'init': 'const'}, 20_568_835, 20_683_651),
    ({'gate_raw_fm': True}, 20_560_643, 20_675_459),
]
VARIANTS = [options for options, _, _ in COUNTS]
NAMES = ['-'.join(f'{k}={v}' for k, v in options.items()) or 'paper' for options in VARIANTS]
NARROW = {'z_dim': 8, 'channel_base': 512, 'channel_max': 24}


def facts(resolution: int = 32, label_dim: int = 0, channels: int = 3) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=channels, label_dim=label_dim, num_images=1)


def build(resolution: int = 32, label_dim: int = 0, **options: Any) -> IFGenerator:
    return IFGenerator(IFGANConfig(**options), facts(resolution, label_dim))


def on_meta(resolution: int, **options: Any) -> IFGenerator:
    with torch.device('meta'):
        return build(resolution, **options)


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def fusion(m: int, s: int, out: int, seed: int = 0, **options: Any) -> Fusion:
    """Returns a module in float64 with parameters and statistics that no initialization would give."""
    torch.manual_seed(seed)
    module = Fusion(IFGANConfig(**options), m, s, out)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    for bn in (module.bn_m, module.bn_s):
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
    return module.double()


@pytest.mark.parametrize(('options', 'at128', 'at256'), COUNTS, ids=NAMES)
def test_every_variant_has_its_number_of_parameters(options: dict, at128: int, at256: int) -> None:
    assert (count(on_meta(128, **options)), count(on_meta(256, **options))) == (at128, at256)


@pytest.mark.parametrize(
    ('name', 'column'), [('ifgan', (20_560_643, 20_675_459)), ('traditional', (12_425_731, 12_461_571))]
)
def test_the_recipes_networks_have_their_number_of_parameters(name: str, column: tuple[int, int]) -> None:
    for resolution, g, d in zip((128, 256), column, (19_019_329, 19_048_993), strict=True):
        with torch.device('meta'):
            G, D = build_networks(RECIPES.get(name).make(facts(resolution), 1), facts(resolution))
        assert (count(G), count(D)) == (g, d)


def test_layers_of_128_have_the_specified_numbers_of_parameters() -> None:
    G = on_meta(128)
    blocks = [getattr(G, f'b{r}') for r in G.resolutions]
    assert [count(block.image_gate) for block in blocks] == [1_314_304] * 3 + [329_472, 82_816]
    assert [count(block.latent_gate) for block in blocks[:-1]] == [1_314_304] * 2 + [920_320, 230_784]
    assert not blocks[-1].has_latent
    convs = [(count(block.conv0.conv), count(block.conv1.conv)) for block in blocks]
    assert convs == [(2_359_808, 2_359_808)] * 2 + [(1_179_904, 590_080), (295_040, 147_584), (73_792, 36_928)]


@pytest.mark.parametrize(
    ('resolution', 'widths'),
    [
        (32, [512, 512, 256]),
        (64, [512, 512, 256, 128]),
        (128, [512, 512, 256, 128, 64]),  # Table 1
        (256, [512, 512, 256, 128, 64, 32]),  # Table 1
        (512, [512, 512, 256, 128, 64, 32, 16]),
        (1024, [512, 512, 256, 128, 64, 32, 16, 8]),
    ],
)
def test_widths_are_table_1s_and_follow_its_rule_elsewhere(resolution: int, widths: list[int]) -> None:
    G = on_meta(resolution)
    assert [getattr(G, f'b{r}').conv1.conv.weight.shape[0] for r in G.resolutions] == widths
    assert G.fc.weight.shape == (512 * 4 * 4, 32)


@pytest.mark.parametrize('options', [{}, {'feedback': False}, {'fuse': 'sum'}])
def test_the_latent_feature_is_as_large_as_the_image_feature_after_every_block(options: dict) -> None:
    G = on_meta(256, **options)
    seen: list[tuple[Any, Any]] = []
    for r in G.resolutions:
        getattr(G, f'b{r}').register_forward_hook(lambda _module, _args, out: seen.append(out))
    G(torch.randn(2, 32, device='meta'), None)
    expected = [(512, 8), (512, 16), (256, 32), (128, 64), (64, 128)]
    assert [tuple(latent.shape) for _, latent in seen[:-1]] == [(2, c, r, r) for c, r in expected]
    assert [x.shape for x, _ in seen[:-1]] == [latent.shape for _, latent in seen[:-1]]
    assert seen[-1][1] is None


def test_the_traditional_generator_is_the_ifgan_without_its_latent_branch() -> None:
    with_latent, without = on_meta(128).state_dict(), on_meta(128, latent=False).state_dict()
    assert {key: t.shape for key, t in with_latent.items() if '_gate.' not in key} == {
        key: t.shape for key, t in without.items()
    }


# ---- the gating module


def test_the_gate_is_equations_5_to_7_pixel_by_pixel() -> None:
    M, S, out, eps = 3, 2, 4, 1e-5
    gate = fusion(M, S, out)
    f_m, f_s = torch.randn(2, M, 2, 3).double(), torch.randn(2, S, 2, 3).double()

    def norm(f: torch.Tensor, bn: torch.nn.BatchNorm2d) -> torch.Tensor:
        columns = [f[:, c] for c in range(f.shape[1])]
        normal = [(x - x.mean()) / ((x - x.mean()).square().mean() + eps).sqrt() for x in columns]
        return torch.stack([x * bn.weight[c] + bn.bias[c] for c, x in enumerate(normal)], dim=1)

    m, s = norm(f_m, gate.bn_m), norm(f_s, gate.bn_s)
    w_g, w_r = (gate.mix.weight / math.sqrt(M + S))[:, :, 0, 0].chunk(2)  # [M, M + S], equalised
    b_g, b_r = gate.mix.bias.chunk(2)
    w_out = (gate.out.weight / math.sqrt(M))[:, :, 0, 0]  # [O, M]
    actual = gate(f_m, f_s)
    for n in range(2):
        for y in range(2):
            for x in range(3):
                both = torch.cat([m[n, :, y, x], s[n, :, y, x]])
                f_g = 1 / (1 + torch.exp(-(w_g @ both + b_g)))  # Eq. (5)
                f_r = w_r @ both + b_r  # Eq. (6)
                expected = w_out @ (f_g * m[n, :, y, x] + (1 - f_g) * f_r) + gate.out.bias  # Eq. (7)
                assert torch.allclose(actual[n, :, y, x], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('raw', [False, True])
def test_a_gate_that_is_open_passes_the_normalised_main_feature_alone(raw: bool) -> None:
    gate = fusion(3, 2, 4, gate_raw_fm=raw)
    with torch.no_grad():
        gate.mix.weight[:3] = 0
        gate.mix.bias[:3] = 1e4  # f_g = 1
    f_m, f_s = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 2, 4, 4).double()
    expected = gate.out(f_m if raw else gate.bn_m(f_m))
    assert torch.allclose(gate(f_m, f_s), expected, rtol=0, atol=1e-12)
    assert torch.allclose(gate(f_m, 7 * f_s**3), expected, rtol=0, atol=1e-12)


FUSIONS = [{}, {'gate_raw_fm': True}, {'fuse': 'sum'}, {'fuse': 'concat'}]


@pytest.mark.parametrize('momentum', [0.1, None])
@pytest.mark.parametrize('mode', ['train', 'recalibrate', 'eval'])
@pytest.mark.parametrize('factor', [1, 2])
@pytest.mark.parametrize('options', FUSIONS, ids=['gate', 'raw', 'sum', 'concat'])
def test_the_fast_form_is_the_plain_one(options: dict, factor: int, mode: str, momentum: float | None) -> None:
    module = fusion(4, 3, 5, **options).train(mode == 'train')
    module.bn_m.train(mode != 'eval')
    module.bn_s.train(mode != 'eval')
    module.bn_m.momentum = module.bn_s.momentum = momentum
    f_m = torch.randn(2, 4, 3, 4).double().requires_grad_()
    f_s = torch.randn(2, 3, 3 * factor, 4 * factor).double().requires_grad_()
    g = torch.randn(2, 5, 3 * factor, 4 * factor).double()
    results = []
    for form in ('plain', 'forward'):
        copied = copy.deepcopy(module)
        outs = [getattr(copied, form)(f_m + shift, f_s) for shift in (0, f_m.square())]  # two steps of the statistics
        leaves = [f_m, f_s, *copied.parameters()]
        results.append([*outs, *torch.autograd.grad(sum(outs), leaves, g), *copied.buffers()])
    assert len(results[0]) == len(results[1])
    for plain, fast in zip(*results, strict=True):
        assert plain.shape == fast.shape
        plain, fast = plain.detach().double(), fast.detach().double()
        assert torch.allclose(fast, plain, rtol=0, atol=1e-12 * max(1, float(plain.abs().max())))
    for bn in ('bn_m', 'bn_s'):
        before, after = getattr(module, bn), getattr(copied, bn)
        assert torch.equal(before.running_var, after.running_var) is (mode == 'eval')
        assert int(after.num_batches_tracked) == (0 if mode == 'eval' else 2)


def test_the_fast_latent_gate_multiplies_at_the_resolution_of_the_latent() -> None:
    M, S, out, pixels = 8, 4, 4, 32 * 32
    with torch.device('meta'):
        gate = Fusion(IFGANConfig(), M, S, out)
        f_m, f_s = torch.randn(1, M, 16, 16), torch.randn(1, S, 32, 32)
    flops = {}
    for form in ('plain', 'forward'):
        with FlopCounterMode(display=False) as counter:
            getattr(gate, form)(f_m, f_s)
        flops[form] = counter.get_total_flops() // 2
    assert flops['plain'] == pixels * ((M + S) * 2 * M + M * out)
    assert flops['forward'] == pixels * ((M / 4 + S) * 2 * M + M * out)


# ---- blocks and generator


@pytest.mark.parametrize('feedback', [True, False])
def test_the_latent_feature_learns_of_the_image_only_with_feedback(feedback: bool) -> None:
    torch.manual_seed(0)
    block = IFBlock(IFGANConfig(z_dim=4, feedback=feedback), facts(), 6, 5, 16)
    x, latent, v = torch.randn(3, 6, 8, 8), torch.randn(3, 6, 8, 8), torch.randn(3, 4)
    (h, l_next), (other_h, other_l) = block(x, latent, v, 'none'), block(x.square(), latent, v, 'none')
    assert h.shape == l_next.shape == (3, 5, 16, 16)
    assert not torch.allclose(h, other_h)
    assert torch.equal(l_next, other_l) is not feedback


@pytest.mark.parametrize('fuse', ['gate', 'sum', 'concat'])
def test_the_image_learns_of_the_latent_feature(fuse: str) -> None:
    torch.manual_seed(0)
    block = IFBlock(IFGANConfig(z_dim=4, fuse=fuse), facts(), 6, 5, 32)
    x, latent, v = torch.randn(3, 6, 16, 16), torch.randn(3, 6, 16, 16), torch.randn(3, 4)
    assert not torch.allclose(block(x, latent, v, 'none')[0], block(x, latent.square(), v, 'none')[0])


def cancelling(options: dict) -> tuple[str, ...]:
    """Ends of the names of what only normalisations read, as a constant of a channel."""
    ends = ['conv0.conv.bias', 'conv1.conv.bias', 'skip.bias', 'image_gate.out.bias', 'latent_gate.out.bias']
    if options.get('fuse', 'gate') != 'gate':
        ends += [f'_gate.{part}_{feature}.bias' for part in ('bn', 'out') for feature in 'ms']
    if not options.get('feedback', True):
        ends += ['latent_gate.bias']
    if options.get('gate_raw_fm'):  # Eq. 7 reads the image feature as it is, in every block except the last
        ends = ['b8.conv0.conv.bias', 'b16.conv0.conv.bias', 'b16.latent_gate.out.bias', 'b32.conv0.conv.bias']
        ends += ['b32.conv1.conv.bias', 'b32.skip.bias', 'b32.image_gate.out.bias']
    return tuple(ends)


@pytest.mark.parametrize('options', VARIANTS, ids=NAMES)
def test_every_parameter_acts_save_the_constants_that_batch_norms_cancel_in_training(options: dict) -> None:
    torch.manual_seed(0)
    G = build(32, 2, **NARROW, **options)
    for name, parameter in G.named_parameters():
        if name.endswith('noise_scale'):
            torch.nn.init.normal_(parameter)
    z, c, g = torch.randn(8, 8), torch.eye(2).repeat(4, 1), torch.randn(8, 3, 32, 32)
    norms = {}
    for training in (True, False):
        G.train(training).zero_grad()
        (G(z, c) * g).sum().backward()
        norms[training] = {name: float(p.grad.norm()) for name, p in G.named_parameters()}
    quiet = {name for name, norm in norms[True].items() if norm < 1e-3}  # rounding errors: the least other is above 1
    assert quiet == {name for name in norms[True] if name.endswith(cancelling(options))}
    assert {name for name, norm in norms[False].items() if norm < 1e-3} == set()


def test_it_has_no_w_space() -> None:
    G = build(32, **NARROW)
    assert isinstance(G, Generator)
    assert not isinstance(G, StyleGenerator)
    assert not hasattr(G, 'mapping')
    assert not hasattr(G, 'synthesis')


@torch.no_grad()
def test_truncation_scales_z() -> None:
    G = build(32, **NARROW).eval()
    z = torch.randn(2, 8)
    assert torch.equal(G(z, None, truncation_psi=0.5, noise_mode='const'), G(z * 0.5, None, noise_mode='const'))


@torch.no_grad()
def test_the_label_reaches_the_normalisation_and_not_the_start() -> None:
    G = build(32, 3, **NARROW)
    assert G.fc.weight.shape[1] == 8
    assert G.b8.bn0.gain.weight.shape == (24, 8 + 3)
    z = torch.randn(1, 8).expand(2, -1)
    images = G.eval()(z, torch.eye(3)[:2], noise_mode='none')
    assert not torch.allclose(images[0], images[1])


@torch.no_grad()
def test_noise_is_one_map_an_image_times_a_scale_a_channel_that_begins_at_zero() -> None:
    torch.manual_seed(0)
    layer = NoisyConv(3, 4, (8, 8))
    x = torch.randn(2, 3, 8, 8)
    clean = layer(x, 'none')
    assert torch.equal(layer(x, 'random'), clean)
    layer.noise_scale.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
    for mode in ('random', 'const'):
        unit = (layer(x, mode) - clean)[:, :3] / layer.noise_scale[:3, None, None]
        assert torch.allclose(unit[:, 0], unit[:, 1], atol=1e-5)
        assert torch.allclose(unit[:, 0], unit[:, 2], atol=1e-5)
        assert torch.allclose(unit[0], unit[1], atol=1e-5) is (mode == 'const')
    assert torch.equal(layer(x, 'const')[:, 3], clean[:, 3])
    assert torch.allclose(unit[0, 0], layer.noise_const, atol=1e-5)


@torch.no_grad()
def test_running_statistics_draw_in_bfloat16_as_in_float32() -> None:
    torch.manual_seed(0)
    G = build(64, **NARROW)
    z = torch.randn(16, 8)
    for _ in range(30):
        G(z, None)
    G.eval()
    expected = G(z, None, noise_mode='const')
    set_precision(G, torch.bfloat16)
    img = G(z, None, noise_mode='const')
    assert img.dtype == torch.float32
    assert 0 < float((img - expected).norm() / expected.norm()) < 0.05
    statistics = [buffer for name, buffer in G.named_buffers() if 'running' in name]
    assert all(buffer.dtype == torch.float32 for buffer in statistics)


# ---- recipes and refusals


@pytest.mark.parametrize('recipe', [ifgan, traditional])
@pytest.mark.parametrize(
    ('resolution', 'gpus', 'batch_gpu'),
    [(32, 1, 32), (128, 1, 32), (256, 1, 32), (256, 4, 8), (512, 1, 8), (512, 8, 4), (1024, 1, 4), (1024, 16, 2)],
)
def test_the_recipe_is_section_4_1(recipe: Any, resolution: int, gpus: int, batch_gpu: int) -> None:
    cfg = recipe(facts(resolution), gpus)
    assert (cfg.batch, cfg.batch_gpu, cfg.gpus) == (32, batch_gpu, gpus)
    assert cfg.kimg * 1000 == 300_000 * cfg.batch
    assert cfg.lr_decay_kimg * 1000 == 50_000 * cfg.batch
    assert cfg.g_opt == cfg.d_opt
    assert (cfg.g_opt.kind, cfg.g_opt.lr, cfg.g_opt.beta1, cfg.g_opt.beta2) == ('adam', 0.0025, 0.0, 0.99)
    assert (cfg.loss.kind, cfg.r1.gamma, cfg.r1.interval) == ('logistic', 10, 16)
    assert (cfg.pl.weight, cfg.pl.interval, cfg.style_mixing_prob) == (0, None, 0)
    assert (cfg.n_critic, cfg.g_batch_mult, cfg.ema.kimg, cfg.ema.rampup) == (1, 1, 10, None)
    D = cfg.discriminator
    assert (D.channel_base, D.channel_max, D.mbstd_group, D.architecture) == (8192, 512, 4, 'resnet')
    assert cfg.generator == IFGANConfig(latent=recipe is ifgan)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'fuse': 'product'}, 'fuse=product: one of gate, sum, concat'),
        ({'init': 'zero'}, 'init=zero: one of shared, two_fc, const'),
        ({'z_dim': 0}, 'z_dim=0: must be at least 1'),
        ({'channel_max': 0}, 'channel_max=0: must be at least 1'),
        ({'num_fp16_res': -1}, 'num_fp16_res=-1: must be at least 0'),
        ({'latent': False, 'fuse': 'sum'}, 'fuse=sum: must be gate if latent=False'),
        ({'latent': False, 'feedback': False}, 'feedback=False: must be True if latent=False'),
        ({'latent': False, 'init': 'const'}, 'init=const: must be shared if latent=False'),
        ({'latent': False, 'gate_raw_fm': True}, 'gate_raw_fm=True: must be False if latent=False'),
        ({'fuse': 'sum', 'gate_raw_fm': True}, 'gate_raw_fm=True: needs the gating module, fuse=gate'),
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IFGANConfig(**options)


@pytest.mark.parametrize('resolution', [16, 48])
def test_a_resolution_that_cannot_work_is_named(resolution: int) -> None:
    with pytest.raises(ConfigError, match=f'resolution={resolution}: IF-GAN needs a power of two, at least 32'):
        build(resolution)


def test_a_width_that_leaves_no_channel_is_named() -> None:
    with pytest.raises(ConfigError, match='channel_base=32: at 64x64 at least 64'):
        build(64, channel_base=32)


def test_an_unknown_noise_mode_is_named() -> None:
    with pytest.raises(ValueError, match="noise_mode 'fixed': must be random, const or none"):
        build(32, **NARROW)(torch.zeros(1, 8), None, noise_mode='fixed')
