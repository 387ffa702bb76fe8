"""Official PyTorch networks: arguments of every version, and attributes that replace missing ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from tests.support.official_layout import (
    G_KWARGS,
    WIDTHS,
    Persistent,
    discriminator,
    generator,
    load_D,
    official_file,
    persistent,
)
from training.interface import ImageSpec
from training.run.snapshot import load_generator, load_snapshot

CPU = torch.device('cpu')


@pytest.mark.parametrize('architecture', ['skip', 'resnet', 'orig'])
@torch.no_grad()
def test_stylegan3_gives_its_synthesis_arguments_at_the_top(tmp_path: Path, architecture: str) -> None:
    spec = ImageSpec(resolution=16, channels=1, label_dim=3, num_images=1)
    options = {'architecture': architecture, 'conv_clamp': 5, 'num_fp16_res': 2}
    G, D = generator(spec=spec, **options), discriminator(spec=spec, **options)
    sizes = {'c_dim': 3, 'img_resolution': 16, 'img_channels': 1}
    flat = {**sizes, **options, **WIDTHS}
    path = official_file(
        tmp_path / 'a.pkl',
        G_ema=persistent(
            G,
            'Generator',
            {'z_dim': 6, 'w_dim': 5, **flat, 'mapping_kwargs': {'num_layers': 2}}
            | {'fused_modconv_default': 'inference_only'},
        ),
        D=persistent(D, 'Discriminator', {**flat, 'block_kwargs': {'freeze_layers': 3}, 'mapping_kwargs': {}}),
    )
    snapshot = load_snapshot(path)
    z, c = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    img = G(z, c, noise_mode='const')
    assert torch.equal(load_generator(snapshot, CPU, 'fp32')(z, c, noise_mode='const'), img)
    assert torch.equal(load_D(snapshot)(img, c), D(img, c))
    assert snapshot.config()[0].generator.num_fp16_res == 2


@torch.no_grad()
def test_what_the_arguments_leave_out_is_read_off_the_layers(tmp_path: Path) -> None:
    """Defaults differ between StyleGAN2-ADA and StyleGAN3, and a file does not say whose it is."""
    spec = ImageSpec(resolution=8, channels=3, label_dim=2, num_images=1)
    D = discriminator(spec=spec, conv_clamp=None, map_depth=3, map_lr_multiplier=0.5, mbstd_group=None)
    stub = persistent(D, 'Discriminator', {'c_dim': 2, 'img_resolution': 8, 'img_channels': 3} | WIDTHS)
    modules = stub.meta['state']['_modules']
    modules['mapping'].meta['state'] |= {'num_layers': 3}
    modules['mapping'].meta['state']['_modules']['fc0'].meta['state'] |= {'bias_gain': 0.5}
    modules['b4'].meta['state']['_modules']['mbstd'] = Persistent(
        'MinibatchStdLayer',
        {'_parameters': {}, '_buffers': {}, '_modules': {}, 'group_size': None, 'num_channels': 1},
    )
    modules['b8'].meta['state'] |= {'use_fp16': True}
    G = generator(spec=spec, conv_clamp=None)
    G_kwargs = G_KWARGS | {'c_dim': 2, 'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}}
    snapshot = load_snapshot(
        official_file(tmp_path / 'a.pkl', G_ema=persistent(G, 'Generator', G_kwargs, conv_clamp=None), D=stub)
    )
    cfg, _ = snapshot.config()
    d = cfg.discriminator
    assert (d.conv_clamp, d.map_depth, d.map_lr_multiplier, d.mbstd_group, d.num_fp16_res) == (None, 3, 0.5, None, 1)
    assert cfg.generator.conv_clamp is None
    img, c = torch.randn(6, 3, 8, 8), torch.eye(2)[[0, 1, 1, 0, 1, 0]]
    assert torch.equal(load_D(snapshot)(img, c), D(img, c))


@pytest.mark.parametrize('labels', [0, 2])
@torch.no_grad()
def test_a_file_converted_from_tensorflow_has_a_mapping_without_layers(tmp_path: Path, labels: int) -> None:
    spec = ImageSpec(resolution=8, channels=3, label_dim=labels, num_images=1)
    D = discriminator(spec=spec, map_depth=0, mbstd_group=None, cmap_dim=7, num_fp16_res=0, conv_clamp=None)
    kwargs = {
        'c_dim': labels,
        'img_resolution': 8,
        'img_channels': 3,
        'cmap_dim': 7,
        'architecture': 'resnet',
        **WIDTHS,
    }
    kwargs |= {
        'num_fp16_res': 0,
        'conv_clamp': None,
        'block_kwargs': {'activation': 'lrelu', 'resample_filter': [1, 3, 3, 1], 'freeze_layers': 0},
        'mapping_kwargs': {'num_layers': 0, 'embed_features': 7, 'layer_features': 7, 'lr_multiplier': 0.1},
        'epilogue_kwargs': {'mbstd_group_size': None, 'mbstd_num_channels': 1, 'activation': 'lrelu'},
    }
    kwargs['mapping_kwargs']['activation'] = 'lrelu'
    stub = persistent(D, 'Discriminator', kwargs)
    G_kwargs = G_KWARGS | {'c_dim': labels, 'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}}
    snapshot = load_snapshot(
        official_file(tmp_path / 'a.pkl', G_ema=persistent(generator(spec=spec), 'Generator', G_kwargs), D=stub)
    )
    img, c = torch.randn(3, 3, 8, 8), torch.eye(2)[[0, 1, 1]] if labels else None
    assert torch.equal(load_D(snapshot)(img, c), D(img, c))
