"""TensorFlow networks: the same images and logits, and networks that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from dnnlib.errors import CheckpointError
from tests.support.official_layout import (
    discriminator,
    dumps,
    generator,
    load_D,
    tf_network,
)
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.run.snapshot import load_generator, load_snapshot

CPU = torch.device('cpu')


@pytest.mark.parametrize(
    ('g_arch', 'd_arch', 'labels'), [('skip', 'resnet', 0), ('resnet', 'skip', 2), ('skip', 'orig', 0)]
)
@torch.no_grad()
def test_tensorflow_files_draw_and_judge_as_ours(tmp_path: Path, g_arch: str, d_arch: str, labels: int) -> None:
    spec = ImageSpec(resolution=16, channels=3, label_dim=labels, num_images=1)
    plain = {'num_fp16_res': 0, 'conv_clamp': None}
    nets = [generator(seed, spec, architecture=g_arch, **plain) for seed in (0, 1)]
    D = discriminator(spec=spec, architecture=d_arch, map_depth=0, cmap_dim=6, mbstd_group=None, **plain)
    sizes = {'num_channels': 3, 'resolution': 16, 'label_size': labels, 'fmap_base': 16, 'fmap_max': 4}
    g_kwargs = sizes | {'func_name': 'training.networks.G_main', 'latent_size': 6, 'dlatent_size': 5}
    g_kwargs |= {'mapping_layers': 2, 'architecture': g_arch, 'resample_kernel': [1, 3, 3, 1]}
    d_kwargs = sizes | {'architecture': d_arch, 'mapping_fmaps': 6, 'nonlinearity': 'lrelu'}
    content = (tf_network(nets[0], g_kwargs), tf_network(D, d_kwargs), tf_network(nets[1], g_kwargs))
    path = tmp_path / 'stylegan2.pkl'
    path.write_bytes(dumps(content, 3))

    snapshot = load_snapshot(path)
    z, c = torch.randn(4, 6), torch.eye(labels)[[0, 1, 1, 0]] if labels else None
    img = nets[1](z, c, noise_mode='const')
    drawn = load_generator(snapshot, CPU, 'fp32')(z, c, noise_mode='const')
    torch.testing.assert_close(drawn, img, rtol=0, atol=1e-5)  # mod_bias lost and got back its 1
    torch.testing.assert_close(load_D(snapshot)(img, c), D(img, c), rtol=0, atol=1e-5)
    assert torch.equal(snapshot.tensors['G.mapping.fc0.weight'], nets[0].mapping.fc0.weight)
    assert snapshot.config()[0].data.path == 'the-unnamed-data-of-an-official-file'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'fmap_const': 64}, "made with 'fmap_const', which is not known here"),
        ({'nonlinearity': 'relu'}, "made with nonlinearity='relu', which no network here has"),
        ({'resample_kernel': [1, 2, 1]}, r'made with resample_kernel=\[1, 2, 1\], expected 4 numbers'),
        ({'mapping_layers': 4}, 'has no variable mapping/Dense2/weight'),
        (
            {'mapping_layers': 1},
            r"holds \['mapping/Dense1/bias', 'mapping/Dense1/weight'\], which a StyleGAN2 of these",
        ),
        ({'latent_size': 7}, r'mapping\.fc0\.weight is \[5, 6\] torch.float32, expected \[5, 7\]'),
        ({'mapping_fmaps': 9}, 'made with mapping_fmaps=9, expected 5'),
    ],
)
def test_a_tensorflow_network_that_is_another_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    kwargs = {'num_channels': 3, 'resolution': 8, 'fmap_base': 16, 'fmap_max': 4, 'latent_size': 6, 'dlatent_size': 5}
    G = tf_network(generator(), {**kwargs, 'mapping_layers': 2, **change})
    path = tmp_path / 'a.pkl'
    path.write_bytes(dumps((G, G, G)))
    with pytest.raises(CheckpointError, match=message):
        load_official(path)
