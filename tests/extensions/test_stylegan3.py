"""StyleGAN3 is the official one: weights load by name, and images, transforms and gradients come out the same.

Gradients are compared in float64: near zero, rounding decides the side of the activation's bend.
"""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.stylegan3 import StyleGAN3Generator, stylegan3_r, stylegan3_t
from tests.support.stylegan3 import Tensors, load_discriminator, load_generator, load_tensors
from training.interface import ImageSpec, StyleGenerator
from training.objective.r1 import r1_penalty

NAMES = ('t32', 'r32', 't64_cond', 'r16_cond', 't32_leaky', 'r32_leaky')
every_network = pytest.mark.parametrize('name', NAMES)


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Checks that no element differs by more than this share of the largest one."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


def assert_grads(G: StyleGAN3Generator, t: Tensors, prefix: str) -> None:
    """Checks the gradients of all parameters that the file has under a prefix."""
    expected = {key.removeprefix(prefix): value for key, value in t.items() if key.startswith(prefix)}
    assert len(expected) > 10
    grads = {key: p.grad for key, p in G.named_parameters()}
    for key, value in expected.items():
        grad = grads[key]
        assert grad is not None
        assert_near(grad, value)


@every_network
@torch.no_grad()
def test_ws_images_and_transformed_images_are_the_official_ones(name: str) -> None:
    G, t, _ = load_generator(name)
    z, c = t['z'], t.get('c')
    assert isinstance(G, StyleGenerator)
    ws = G.mapping(z, c)
    assert_near(ws, t['ws'])
    assert_near(G.mapping(z, c, truncation_psi=0.7), t['ws_psi07'])
    assert_near(G.mapping(z, c, truncation_psi=0.7, truncation_cutoff=3), t['ws_psi07_cutoff3'])
    assert_near(G(z, c), t['img'])
    k = 0
    while f'transform.{k}' in t:
        G.synthesis.input.transform.copy_(t[f'transform.{k}'])
        assert_near(G.synthesis(ws[:1]), t[f'transform.{k}.img'])
        k += 1
    assert k >= 1


@pytest.mark.parametrize('name', ['t32', 'r32'])
@torch.no_grad()
def test_frequencies_fade_under_a_stretching_transform(name: str) -> None:
    G, t, _ = load_generator(name)
    G.synthesis.input.transform.copy_(t['stretch'])
    features = G.synthesis.input(t['ws'][:, 0])
    assert_near(features[:1, :4], t['stretch.input'].reshape(1, 4, *features.shape[2:]))
    assert_near(G.synthesis(t['ws'][:1]), t['stretch.img'][:1])


@every_network
def test_gradients_of_two_orders_are_the_official_ones(name: str) -> None:
    G, t, _ = load_generator(name)
    G.synthesis.double()
    ws = t['ws'].requires_grad_()
    img = G.synthesis(ws)
    if 'v' in t:
        (grad_ws,) = torch.autograd.grad((img * t['v']).sum(), ws, retain_graph=True)
        assert_near(grad_ws, t['grad_ws'])
        z = t['z'].requires_grad_()
        G.mapping(z, t.get('c')).backward(t['grad_ws'])
        assert z.grad is not None
        assert_near(z.grad, t['grad_z'])
        (img * t['v']).sum().backward(retain_graph=True)
        assert_grads(G, t, 'grad.')
    if 'pl_noise' in t:
        G.zero_grad()
        (gradient,) = torch.autograd.grad((img * t['pl_noise']).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        assert_near(lengths, t['pl_lengths'])
        lengths.sum().backward()
        assert_grads(G, t, 'grad_pl.')


@pytest.mark.parametrize('name', ['t32', 'r16_cond'])
def test_running_averages_move_before_they_are_used(name: str) -> None:
    G, t, _ = load_generator(name)
    with torch.no_grad():
        assert_near(G.track(G.mapping(t['z'], t.get('c'), update_w_avg=True)), t['ema.img'])
    buffers = dict(G.named_buffers())
    expected = {
        key.removeprefix('ema.'): value for key, value in t.items() if key.startswith('ema.') and key != 'ema.img'
    }
    assert len(expected) > 9
    for key, value in expected.items():
        assert_near(buffers[key], value)


@pytest.mark.parametrize('recipe', [stylegan3_t, stylegan3_r])
def test_recipes_scale_gamma_with_the_pixels_and_the_micro_batch_with_the_gpus(recipe) -> None:
    gammas, batches = [], []
    for res in (128, 256, 512, 1024):
        spec = ImageSpec(resolution=res, channels=3, label_dim=0, num_images=1)
        gammas.append(recipe(spec, 8).r1.gamma)
        batches.append([recipe(spec, gpus).batch_gpu for gpus in (1, 2, 8)])
    assert gammas == [0.5, 2, 8, 32]
    assert batches[0] == [16, 16, 4]
    assert batches[-1] == [4, 4, 4]
    cfg = recipe(spec, 8)
    assert (cfg.g_opt.lr, cfg.d_opt.lr, cfg.batch, cfg.kimg) == (0.0025, 0.002, 32, 25000)
    assert (cfg.pl.active, cfg.pl.interval, cfg.style_mixing_prob) == (False, None, 0)
    assert cfg.generator.magnitude_ema_beta == pytest.approx(0.99889158)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'num_layers': 2}, 'num_layers=2: must exceed num_critical=2'),
        ({'first_stopband': 1.5}, 'first_stopband=1.5: must exceed 2'),
        ({'last_stopband_rel': 1.0}, 'last_stopband_rel=1.0: must exceed 1'),
        ({'lrelu_upsampling': 3}, 'lrelu_upsampling=3: one of 1, 2, 4, 8'),
        ({'conv_kernel': 2}, 'conv_kernel=2: one of 1, 3, 5, 7'),
        ({'magnitude_ema_beta': 1.0}, 'magnitude_ema_beta=1.0'),
    ],
)
def test_options_without_a_network_are_refused_by_name(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        StyleGAN3Config(**options)


@every_network
def test_the_discriminator_gives_the_official_logits_and_r1(name: str) -> None:
    t, meta = load_tensors(f'stylegan3_net_{name}')
    D = load_discriminator(t, meta)
    c = t.get('c')
    assert_near(D(t['img'], c), t['logits_fake'], 1e-4)  # the two logits are small
    real = t['real'].requires_grad_()
    logits = D(real, None if c is None else c[: len(real)])
    assert_near(logits, t['logits_real'], 1e-4)
    assert_near(r1_penalty(real, logits), t['r1'])
