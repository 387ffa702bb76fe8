"""Official network pickles load as what they are: the same images, the same logits, and nothing of them is run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import hostile_pickles as hostile
from tests.support.official_layout import (
    D_KWARGS,
    G_KWARGS,
    WIDTHS,
    Persistent,
    discriminator,
    dumps,
    generator,
    load_D,
    official_file,
    persistent,
    tf_network,
)
from training.interface import ImageSpec
from training.legacy.convert import load_official
from training.legacy.reader import read_network_pickle
from training.run.snapshot import load_generator, load_snapshot
from training.run.transfer import load_source

CPU = torch.device('cpu')


@pytest.mark.parametrize('case', ['uncond', 'cond'])
@torch.no_grad()
def test_golden_files_draw_and_judge_as_they_did(golden: Path, case: str) -> None:
    marker = Path(tempfile.gettempdir(), 'PICKLE_CODE_RAN')
    assert not marker.exists()
    snapshot = load_snapshot(golden / f'official_layout_{case}.pkl')
    with np.load(golden / f'networks_skip_{case}.npz', allow_pickle=False) as file:
        t = {key: torch.from_numpy(file[key]) for key in file if key != 'meta'}
    G, D, c = load_generator(snapshot, CPU, 'fp32'), load_D(snapshot), t.get('c')
    torch.testing.assert_close(G(t['z'], c, noise_mode='const'), t['img'], rtol=0, atol=1e-4)
    torch.testing.assert_close(D(t['img'], c), t['logits'], rtol=0, atol=1e-4)
    for name, tensor in t.items():
        if name.startswith(('G.', 'D.')):
            assert torch.equal(snapshot.tensors[name.replace('G.', 'G_ema.')], tensor), name
    assert not marker.exists()


def test_the_record_says_what_the_file_was(golden: Path) -> None:
    snapshot = load_snapshot(golden / 'official_layout_cond.pkl')
    cfg, spec = snapshot.config()
    assert (spec.resolution, spec.label_dim, spec.num_images, snapshot.nimg) == (16, 5, 100, 0)
    assert (cfg.data.path, cfg.data.cond, cfg.discriminator.mbstd_group) == ('x.zip', True, 2)
    official = snapshot.record['official']
    assert official['class_names'] == {'G_ema': 'Generator', 'D': 'Discriminator'}
    assert official['sha256'].startswith('e81c58369bb1b901')
    assert set(official['source_texts_sha256'].values()) == {
        '311d7265b83b3a2883cc49dde3de64c0f3585c659afded02bdfb2a83e51baf42'
    }
    assert json.loads(json.dumps(snapshot.record)) == snapshot.record


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_every_protocol_gives_the_same_networks(tmp_path: Path, protocol: int) -> None:
    """Python 3.7 wrote protocol 3, 3.8 protocol 4, 3.14 protocol 5."""
    G, D = generator(), discriminator()
    G_kwargs = G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}}
    path = official_file(
        tmp_path / 'a.pkl',
        protocol,
        G=persistent(generator(7), 'Generator', G_kwargs),
        D=persistent(D, 'Discriminator', D_KWARGS | WIDTHS),
        G_ema=persistent(G, 'Generator', G_kwargs),
        augment_pipe=None,
    )
    tensors = load_source(str(path)).tensors
    assert {name.split('.')[0] for name in tensors} == {'G', 'D', 'G_ema'}
    for prefix, net in (('G.', generator(7)), ('G_ema.', G), ('D.', D)):
        own = net.state_dict()
        assert list(own) == [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        assert all(torch.equal(tensors[prefix + name], value) for name, value in own.items())


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


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_every_type_and_layout_come_out_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    x = (torch.arange(60).reshape(3, 4, 5) % 7).to(dtype)
    views = {'x': x, 'transposed': x.permute(2, 0, 1), 'part': x[1:, ::2, 3:], 'scalar': x[2, 1, 1]}
    path = tmp_path / 'a.pkl'
    path.write_bytes(dumps(views))
    for name, tensor in read_network_pickle(path).items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, views[name])
        assert tensor.is_contiguous()


def test_a_tensor_of_a_gpu_is_read_to_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    content = np.float32(0.5).tobytes()
    path.write_bytes(hostile.network(hostile.tensor(payload=hostile.blob(device='cuda:3', content=content))))
    assert torch.equal(read_network_pickle(path)['G_ema'], torch.tensor([0.5]))


def test_buffers_that_are_not_persistent_are_left_out(tmp_path: Path) -> None:
    G = generator()
    G.mapping.register_buffer('cache', torch.ones(3), persistent=False)
    stub = persistent(G, 'Generator', G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}})
    stub.meta['state']['_modules']['mapping'].meta['state']['_non_persistent_buffers_set'] = {'cache'}
    tensors = load_official(official_file(tmp_path / 'a.pkl', G_ema=stub)).tensors
    assert [name.removeprefix('G_ema.') for name in tensors] == list(generator().state_dict())
