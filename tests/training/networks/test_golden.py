"""The networks are the official ones: their weights load by name, images, logits and regularisers come out the same."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from training.interface import Discriminator, ImageSpec, StyleGenerator
from training.networks.layers import set_precision
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
