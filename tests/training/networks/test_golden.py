"""The networks are the official ones: their weights load by name, images, logits and regularisers come out the same."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dnnlib.errors import ConfigError
from tests.conftest import ROOT
from training.interface import Discriminator, ImageSpec, StyleGenerator
from training.networks.discriminator import minibatch_std
from training.networks.layers import LowerableBlock, set_precision
from training.networks.stylegan2 import (
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
)
from training.objective.losses import Logistic
from training.objective.pl import path_lengths
from training.objective.r1 import r1_penalty

GOLDEN = ROOT / 'tests' / 'golden'
CASES = ('skip_uncond', 'skip_cond', 'resnet_orig', 'orig_skip')
Golden = tuple[StyleGAN2Generator, StyleGAN2Discriminator, dict[str, torch.Tensor], dict[str, Any]]


@pytest.fixture(scope='module', params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    """G and D with the official weights, the golden tensors (c None without labels), and the sizes."""
    with np.load(GOLDEN / f'networks_{request.param}.npz', allow_pickle=False) as file:
        meta = json.loads(str(file['meta']))
        t = {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}
    spec = ImageSpec(resolution=meta['res'], channels=3, label_dim=meta['c_dim'], num_images=1)
    widths = {'channel_base': meta['channel_base'], 'channel_max': meta['channel_max']}
    G = StyleGAN2Generator(
        StyleGAN2GeneratorConfig(
            z_dim=meta['z_dim'],
            w_dim=meta['w_dim'],
            map_depth=meta['map_layers'],
            architecture=meta['g_arch'],
            **widths,
        ),
        spec,
    )
    D = StyleGAN2Discriminator(
        StyleGAN2DiscriminatorConfig(architecture=meta['d_arch'], mbstd_group=meta['mbstd_group'], **widths), spec
    )
    for prefix, net in (('G.', G), ('D.', D)):
        net.load_state_dict({k.removeprefix(prefix): v for k, v in t.items() if k.startswith(prefix)}, strict=True)
    return G, D, {'c': None, **t}, meta


def test_networks_keep_their_contracts(golden: Golden) -> None:
    G, D, _, meta = golden
    assert isinstance(G, StyleGenerator)
    assert isinstance(D, Discriminator)
    assert (G.img_resolution, G.c_dim, D.img_channels) == (meta['res'], meta['c_dim'], 3)


def test_mapping_and_truncation(golden: Golden) -> None:
    G, _, t, meta = golden
    psi, cutoff = meta['truncation_psi'], meta['truncation_cutoff']
    torch.testing.assert_close(G.mapping(t['z'], t['c']), t['ws'], rtol=0, atol=1e-5)
    ws = G.mapping(t['z'], t['c'], truncation_psi=psi, truncation_cutoff=cutoff)
    torch.testing.assert_close(ws, t['ws_trunc'], rtol=0, atol=1e-5)
    ws = G.mapping(t['z'], t['c'], truncation_psi=0)
    assert torch.equal(ws, G.mapping.w_avg.expand_as(ws))


def test_images(golden: Golden) -> None:
    G, _, t, _ = golden
    for mode, name in (('const', 'img'), ('none', 'img_nonoise')):
        img = G.synthesis(t['ws'], noise_mode=mode)
        assert img.dtype == torch.float32
        torch.testing.assert_close(img, t[name], rtol=0, atol=1e-4)
        torch.testing.assert_close(G(t['z'], t['c'], noise_mode=mode), t[name], rtol=0, atol=1e-4)


def test_logits_and_losses(golden: Golden) -> None:
    _, D, t, _ = golden
    logits = D(t['img'], t['c'])
    torch.testing.assert_close(logits, t['logits'], rtol=0, atol=1e-4)
    loss = Logistic()
    torch.testing.assert_close(loss.generator(logits), t['g_main'], rtol=0, atol=1e-4)
    torch.testing.assert_close(loss.discriminator_fake(logits), t['d_fake'], rtol=0, atol=1e-4)
    torch.testing.assert_close(loss.discriminator_real(D(t['real'], t['c'])), t['d_real'], rtol=0, atol=1e-4)


def test_r1_and_its_gradient_reach_every_weight(golden: Golden) -> None:
    _, D, t, _ = golden
    real = t['real'].clone().requires_grad_()
    r1 = r1_penalty(real, D(real, t['c']))
    torch.testing.assert_close(r1, t['r1'], rtol=1e-3, atol=1e-6)
    weights = {name: p for name, p in D.named_parameters() if name.startswith('b') and name.endswith('weight')}
    for g in torch.autograd.grad(r1.sum(), list(weights.values())):
        assert bool(g.isfinite().all())
        assert float(g.abs().sum()) > 0


def test_path_lengths(golden: Golden) -> None:
    G, _, t, _ = golden
    ws = t['ws'].clone().requires_grad_()
    img = G.synthesis(ws, noise_mode='const')
    direction = t['pl_noise'] * math.sqrt(img.shape[2] * img.shape[3])  # the golden one is scaled already
    lengths = path_lengths(img, ws, direction)
    torch.testing.assert_close(lengths, t['pl_lengths'], rtol=1e-3, atol=1e-6)
    (g,) = torch.autograd.grad(lengths.sum(), G.synthesis.b8.conv1.weight)
    assert float(g.abs().sum()) > 0


@torch.no_grad()
def test_bfloat16_stays_close_to_float32(golden: Golden) -> None:
    G, D, t, _ = golden
    set_precision(G, torch.bfloat16)
    set_precision(D, torch.bfloat16)
    try:
        img, logits = G.synthesis(t['ws'], noise_mode='const'), D(t['img'], t['c'])
    finally:
        set_precision(G, torch.float32)
        set_precision(D, torch.float32)
    assert img.dtype == logits.dtype == torch.float32
    assert float((img - t['img']).norm() / t['img'].norm()) < 0.03
    assert not torch.equal(img, G.synthesis(t['ws'], noise_mode='const'))  # it did compute in another precision
    torch.testing.assert_close(logits, t['logits'], rtol=0.1, atol=0.1)


SPEC = ImageSpec(resolution=16, channels=1, label_dim=0, num_images=1)
TINY = {'channel_base': 128, 'channel_max': 8}


def tiny_G(**options: Any) -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(StyleGAN2GeneratorConfig(z_dim=8, w_dim=8, map_depth=2, **TINY, **options), SPEC)


def tiny_D(label_dim: int = 0, **options: Any) -> StyleGAN2Discriminator:
    torch.manual_seed(0)
    spec = ImageSpec(resolution=16, channels=1, label_dim=label_dim, num_images=1)
    return StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**TINY, **options), spec)


def test_w_avg_moves_only_when_asked() -> None:
    G = tiny_G(w_avg_beta=0.9)
    z = torch.randn(64, 8)
    G(z, None)
    assert not G.mapping.w_avg.any()
    w = G.mapping(z, None, update_w_avg=True)[:, 0]
    torch.testing.assert_close(G.mapping.w_avg, 0.1 * w.mean(0))
    assert not G.mapping.w_avg.requires_grad


def test_noise_modes() -> None:
    G = tiny_G()
    ws = G.mapping(torch.randn(2, 8), None)
    with torch.no_grad():
        for block in G.synthesis.blocks():
            block.conv1.noise_strength.fill_(0.5)
    random = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        random.append(G.synthesis(ws, noise_mode='random'))
    assert torch.equal(random[0], random[1])
    assert not torch.equal(random[0], random[2])
    assert torch.equal(G.synthesis(ws, noise_mode='const'), G.synthesis(ws, noise_mode='const'))
    with pytest.raises(ValueError, match="noise_mode 'fixed'"):
        G.synthesis(ws, noise_mode='fixed')


@pytest.mark.parametrize('architecture', ['skip', 'resnet', 'orig'])
def test_every_parameter_of_g_and_d_gets_a_gradient(architecture: str) -> None:
    G, D = tiny_G(architecture=architecture), tiny_D(3, architecture=architecture, mbstd_group=2)
    c = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    D(G(torch.randn(4, 8), None), c).sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert float(p.grad.abs().sum()) > 0, name


@pytest.mark.parametrize(
    ('num_fp16_res', 'res', 'lowered'), [(4, 64, [8, 16, 32, 64]), (4, 16, [8, 16]), (0, 16, []), (1, 32, [32])]
)
def test_the_highest_resolutions_are_lowered_and_4x4_never(num_fp16_res: int, res: int, lowered: list[int]) -> None:
    spec = ImageSpec(resolution=res, channels=3, label_dim=0, num_images=1)
    options = {'channel_base': 64, 'channel_max': 2, 'num_fp16_res': num_fp16_res}
    for net in (
        StyleGAN2Generator(StyleGAN2GeneratorConfig(**options), spec).synthesis,
        StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(**options), spec),
    ):
        blocks = {name: m for name, m in net.named_children() if isinstance(m, LowerableBlock)}
        assert sorted(int(name[1:]) for name, block in blocks.items() if block.lowered) == lowered
    with pytest.raises(ValueError, match='float32, bfloat16 or float16'):
        set_precision(net, torch.float64)


@torch.no_grad()
def test_conv_clamp_bounds_activations_in_every_precision() -> None:
    D = tiny_D(conv_clamp=0.5)
    block = D.b16
    for dtype in (torch.float32, torch.bfloat16):
        set_precision(D, dtype)
        y = block.conv0(block.lower(torch.randn(2, 8, 16, 16) * 100))
        assert y.dtype == dtype
        assert float(y.abs().max()) == 0.5


@pytest.mark.parametrize(
    ('freezed', 'frozen'), [(0, []), (2, ['fromrgb', 'conv0']), (4, ['fromrgb', 'conv0', 'conv1', 'skip'])]
)
def test_freezed_turns_the_first_layers_into_buffers_of_the_same_name(freezed: int, frozen: list[str]) -> None:
    D, plain = tiny_D(freezed=freezed), tiny_D()
    assert D.state_dict().keys() == plain.state_dict().keys()
    missing = {name for name, _ in plain.named_parameters()} - {name for name, _ in D.named_parameters()}
    assert {name.split('.')[1] for name in missing} == set(frozen)
    assert all(name.startswith('b16.') for name in missing)
    D.load_state_dict(plain.state_dict(), strict=True)
    D(torch.randn(4, 1, 16, 16), None).sum().backward()


def test_minibatch_std_is_shared_by_the_samples_of_a_group() -> None:
    x = torch.randn(6, 4, 4, 4)
    y = minibatch_std(x, 3, 2)  # groups {0, 2, 4} and {1, 3, 5}
    assert y.shape == (6, 2, 4, 4)
    expected = (x[1::2, 2:].var(0, correction=0) + 1e-8).sqrt().mean()
    torch.testing.assert_close(y[[1, 3, 5], 1], expected.expand(3, 4, 4))
    with pytest.raises(ConfigError, match='mbstd_group=4: a micro-batch of 6 images'):
        minibatch_std(x, 4, 1)


def test_any_memory_format_gives_the_same_logits() -> None:
    D, img = tiny_D(), torch.randn(4, 1, 16, 16)
    assert torch.equal(D(img, None), D(img.to(memory_format=torch.channels_last), None))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: StyleGAN2GeneratorConfig(architecture='dense'), 'architecture=dense: one of skip, resnet, orig'),
        (lambda: StyleGAN2GeneratorConfig(z_dim=0), 'z_dim=0: must be at least 1'),
        (lambda: StyleGAN2GeneratorConfig(conv_clamp=0), 'conv_clamp=0: must be positive'),
        (lambda: StyleGAN2GeneratorConfig(w_avg_beta=1), 'w_avg_beta=1: must lie in'),
        (lambda: StyleGAN2DiscriminatorConfig(mbstd_group=0), 'mbstd_group=0: must be at least 1'),
        (lambda: tiny_D(freezed=8), 'freezed=8: the blocks of this discriminator have 7 layers'),
        (lambda: tiny_D(mbstd_channels=3), 'mbstd_channels=3: must divide the 8 channels'),
        (
            lambda: StyleGAN2Generator(
                StyleGAN2GeneratorConfig(), ImageSpec(resolution=48, channels=3, label_dim=0, num_images=1)
            ),
            'resolution=48: StyleGAN2 needs a power of two, at least 8',
        ),
        (
            lambda: StyleGAN2Generator(StyleGAN2GeneratorConfig(channel_base=8), SPEC),
            'channel_base=8: at 16x16 at least 16',
        ),
    ],
)
def test_an_option_that_cannot_work_is_named_with_the_way_out(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
