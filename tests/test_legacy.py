"""Official network pickles load as what they are: the same images, the same logits, and nothing of them is run."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

import generate
from dnnlib.errors import CheckpointError, ConfigError, UnsafeModelFile
from tests import hostile_pickles as hostile
from tests.official_layout import (
    D_KWARGS,
    G_KWARGS,
    WIDTHS,
    Persistent,
    discriminator,
    dumps,
    generator,
    official_file,
    persistent,
    tf_network,
)
from training.build import build_networks
from training.interface import ImageSpec
from training.legacy import is_pickle, load_official
from training.legacy.__main__ import main
from training.legacy.export import export
from training.legacy.inspect import inspect
from training.legacy.reader import read_official
from training.networks import dcgan  # noqa: F401 (registers itself)
from training.snapshot import Snapshot, load_generator, load_snapshot
from training.transfer import load_source

CPU = torch.device('cpu')


def load_D(snapshot: Snapshot) -> torch.nn.Module:
    """The discriminator of a snapshot."""
    _, D = build_networks(*snapshot.config())
    D.load_state_dict({k[2:]: v for k, v in snapshot.tensors.items() if k.startswith('D.')}, strict=True)
    return D


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
    tensors = load_source(path)
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


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_every_type_and_layout_come_out_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    x = (torch.arange(60).reshape(3, 4, 5) % 7).to(dtype)
    views = {'x': x, 'transposed': x.permute(2, 0, 1), 'part': x[1:, ::2, 3:], 'scalar': x[2, 1, 1]}
    path = tmp_path / 'a.pkl'
    path.write_bytes(dumps(views))
    for name, tensor in read_official(path).items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, views[name])
        assert tensor.is_contiguous()


def test_a_tensor_of_a_gpu_is_read_to_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    content = np.float32(0.5).tobytes()
    path.write_bytes(hostile.network(hostile.tensor(payload=hostile.blob(device='cuda:3', content=content))))
    assert torch.equal(read_official(path)['G_ema'], torch.tensor([0.5]))


def refusal(path: Path) -> str:
    """The message with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_official(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def write(tmp_path: Path, G_kwargs: dict[str, Any] | None = None, name: str = 'Generator', **state: Any) -> Path:
    """A file with one generator, some of it changed."""
    kwargs = G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}} | (G_kwargs or {})
    return official_file(tmp_path / 'a.pkl', G_ema=persistent(generator(), name, kwargs, **state))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'conv_kernel': 1}, "made with 'conv_kernel', which is not known here"),
        ({'extra_kwargs': {}}, "made with 'extra_kwargs', which is not known here"),
        ({'mapping_kwargs': {'depth': 2}}, "mapping_kwargs={'depth': 2}; known are activation, embed_features"),
        ({'mapping_kwargs': {'num_layers': 10**9}}, 'made with map_depth=1000000000, more than 64'),
        ({'synthesis_kwargs': {'use_noise': False}}, 'made with use_noise=False, which no network here has'),
        ({'synthesis_kwargs': {'activation': 'swish'}}, "made with activation='swish', which no network here has"),
        ({'synthesis_kwargs': {'resample_filter': [1, 2, 1]}}, r'made with resample_filter=\[1, 2, 1\]'),
        ({'img_resolution': 12}, 'made with arguments that no network here takes: resolution=12'),
        ({'img_resolution': '8'}, "made with img_resolution='8', which is no size"),
        ({'synthesis_kwargs': {'channel_base': 'big'}}, 'expected a whole number'),
        ({'z_dim': 7}, r'mapping\.fc0\.weight is \[5, 6\] torch.float32, expected \[5, 7\]'),
        ({'c_dim': 2}, r'mapping\.embed\.weight is missing'),
        ({'img_resolution': 16}, r'synthesis\.b16\S+ is missing.*and \d+ more'),
    ],
)
def test_arguments_without_a_network_are_named(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(write(tmp_path, kwargs)))


def test_other_architectures_are_recognised_by_name(tmp_path: Path) -> None:
    T = generator()
    T.synthesis.input = torch.nn.Linear(2, 2)
    path = official_file(tmp_path / 'a.pkl', G_ema=persistent(T, 'Generator', G_KWARGS))
    assert 'a StyleGAN3 generator (configuration T or R)' in refusal(path)
    assert 'a StyleGAN-XL generator' in refusal(write(tmp_path, name='SuperresGenerator'))
    assert 'an object of the class EG3D' in refusal(write(tmp_path, name='EG3D'))
    path.write_bytes(b'\x80\x04\x8c\x11training.networks\x8c\x09Generator\x93)\x81.')
    assert 'this is an R3GAN generator; only StyleGAN2 networks are read' in refusal(path)
    path.write_bytes(b'\x80\x04\x8c\x0adill._dill\x8c\x0a_load_type\x93\x8c\x04type\x85R.')
    assert 'this is written with dill, as StyleGAN-XL does' in refusal(path)
    path.write_bytes(b'\x80\x04]q\x00.')
    assert 'holds a list; expected a dict with G, D and G_ema' in refusal(path)
    path.write_bytes(dumps({'training_set_kwargs': None}))
    assert 'holds no generator' in refusal(path)


def test_a_file_is_known_by_its_name_or_its_first_bytes(tmp_path: Path, golden: Path) -> None:
    cached = tmp_path / '0123abcd'
    shutil.copy(golden / 'official_layout_cond.pkl', cached)
    assert is_pickle(cached)
    cached.write_bytes((0x0480).to_bytes(8, 'little') + b'{"a":1}')  # the length of a header that looks like a protocol
    assert not is_pickle(cached)
    assert is_pickle(Path('absent.pkl'))
    with pytest.raises(CheckpointError, match=r'absent\.pkl: cannot be read \(No such file'):
        load_snapshot(Path('absent.pkl'))


def run(*args: str) -> str:
    """What `python -m training.legacy` prints."""
    result = CliRunner().invoke(main, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@torch.no_grad()
def test_conversion_writes_a_snapshot_and_a_report_and_export_the_official_names(tmp_path: Path, golden: Path) -> None:
    source = golden / 'official_layout_cond.pkl'
    printed = run(str(source), f'--out={tmp_path / "out"}')
    report = json.loads((tmp_path / 'out' / 'official_layout_cond.json').read_text())
    assert json.dumps(report, indent=2) in printed
    assert report['networks']['G_ema']['kwargs']['mapping_kwargs'] == {'num_layers': 3}
    assert (report['networks']['G_ema']['tensors'], report['networks']['D']['tensors']) == (60, 46)
    assert (report['training_set_kwargs']['max_size'], report['augment_pipe']['p']) == (100, 1.0)

    before, after = load_snapshot(source), load_snapshot(tmp_path / 'out' / 'official_layout_cond.safetensors')
    assert after.record == before.record
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())

    target = tmp_path / 'exported.safetensors'
    run(str(after.path), f'--export={target}')
    with safe_open(target, framework='pt') as file:
        header = file.metadata()
        assert set(file.keys()) == set(before.tensors)
    kwargs = json.loads(header['G_kwargs'])
    assert kwargs['mapping_kwargs']['num_layers'] == 3
    D_kwargs = json.loads(header['D_kwargs'])
    assert D_kwargs['epilogue_kwargs']['mbstd_group_size'] == 2

    G, D = load_generator(before, CPU, 'fp32'), load_D(before)
    path = official_file(  # the arguments in the header are those that official classes are made with
        tmp_path / 'b.pkl', G_ema=persistent(G, 'Generator', kwargs), D=persistent(D, 'Discriminator', D_kwargs)
    )
    again, first = load_snapshot(path).config()[0], before.config()[0]
    assert (again.generator, again.discriminator) == (first.generator, first.discriminator)


def test_generate_draws_with_an_official_file(tmp_path: Path, golden: Path) -> None:
    flags = [f'--network={golden / "official_layout_cond.pkl"}', '--class=3', '--seeds=0-1', f'--outdir={tmp_path}']
    result = CliRunner().invoke(generate.main, [*flags, '--device=cpu'], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['seed0000.png', 'seed0001.png']


def test_export_names_what_has_no_official_name(tmp_path: Path, golden: Path) -> None:
    snapshot = load_snapshot(golden / 'official_layout_uncond.pkl')
    record = json.loads(json.dumps(snapshot.record))
    record['config']['discriminator'] = {'kind': 'dcgan'}
    with pytest.raises(CheckpointError, match='official names exist for StyleGAN2 networks alone'):
        export(replace(snapshot, record=record), tmp_path / 'a.safetensors')
    record = json.loads(json.dumps(snapshot.record))
    record['facts']['base'] = [4, 6]
    with pytest.raises(CheckpointError, match='official networks draw squares alone'):
        export(replace(snapshot, record=record), tmp_path / 'a.safetensors')


def test_inspect_shows_files_of_any_kind_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'foreign.pkl'
    weights = torch.arange(6.0).reshape(2, 3)
    inner = dumps({'weight': weights, 'dtype': torch.float32, 'steps': [1, 2]})[2:-1]
    path.write_bytes(b'\x80\x04\x8c\x0eR3GAN.Networks\x8c\x09Generator\x93)\x81' + inner[9:] + b'b.')
    lines = '\n'.join(inspect(path))
    assert (
        lines
        == 'R3GAN.Networks.Generator\n  weight: tensor [2, 3] float32\n  dtype: the name torch.float32\n  steps: [1, 2]'
    )
    path.write_bytes(b'\x80\x02cos\nsystem\n' + b'X\x05\0\0\0touch\x85R.')
    assert run(str(path), '--inspect') == "os.system\n  args: ('touch',)\n"


def test_the_command_wants_one_task(golden: Path) -> None:
    with pytest.raises(ConfigError, match='choose one of --out=DIR, --inspect and --export=FILE'):
        main.main([str(golden / 'official_layout_cond.pkl')], standalone_mode=False)


def test_the_stand_ins_of_these_tests_are_not_what_is_read(tmp_path: Path) -> None:
    """A file that this repository's own classes could not load at all: there is no such module to import."""
    assert importlib.util.find_spec('torch_utils.persistence') is None
    load_official(write(tmp_path))


def test_tables_of_a_module_that_are_none_are_refused(tmp_path: Path) -> None:
    w = torch.ones(1)
    child = persistent(torch.nn.Linear(1, 1), 'Linear')
    for state, message in (
        ({'_parameters': {'a.b': w}}, "_parameters holds 'a.b', which is no name"),
        ({'_parameters': {'a': 'text'}}, 'a is no tensor'),
        ({'_parameters': {'a': w, 'b': w}}, 'b is no tensor, or one that stands in two places'),
        ({'_modules': {'a': 'text'}}, 'a is no module'),
        ({'_modules': {'a': child, 'b': child}}, 'b is no module, or one that stands in two places'),
        ({'_modules': []}, '_modules: expected no hooks, and a table'),
        ({'_forward_hooks': {0: 'hook'}}, '_forward_hooks.*: expected no hooks'),
        ({'_non_persistent_buffers_set': ['a']}, '_non_persistent_buffers_set is no set'),
        ({'_init_kwargs': {'z_dim': {1: 2}}}, 'a dict where plain values are expected'),
        ({'_init_args': (6,)}, 'without its keyword arguments'),
    ):
        with pytest.raises(UnsafeModelFile, match=message):
            load_official(write(tmp_path, **state))


def test_buffers_that_are_not_persistent_are_left_out(tmp_path: Path) -> None:
    G = generator()
    G.mapping.register_buffer('cache', torch.ones(3), persistent=False)
    stub = persistent(G, 'Generator', G_KWARGS | {'mapping_kwargs': {'num_layers': 2}, 'synthesis_kwargs': {**WIDTHS}})
    stub.meta['state']['_modules']['mapping'].meta['state']['_non_persistent_buffers_set'] = {'cache'}
    tensors = load_official(official_file(tmp_path / 'a.pkl', G_ema=stub)).tensors
    assert [name.removeprefix('G_ema.') for name in tensors] == list(generator().state_dict())
