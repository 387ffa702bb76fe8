"""R3GAN's snapshots: images, tensors and sizes of the golden file, earlier class names, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from extensions.r3gan import R3GANDiscriminatorConfig, R3GANGeneratorConfig
from ganfoundry.commands import generate
from tests.support.official_layout import load_D, official_refusal
from tests.support.r3gan import Golden, official_classes, official_network
from torch_utils.seeding import seed_torch
from training.build import build_networks
from training.interface import ImageSpec
from training.legacy.convert import load_official, run_config
from training.legacy.reader import read_network_pickle
from training.run.snapshot import load_generator, load_snapshot
from training.run.transfer import load_source, transfer

CPU = torch.device('cpu')
SPEC = ImageSpec(resolution=16, channels=3, label_dim=2, num_images=1)
LAYOUT: dict[str, Any] = {'widths': (8, 8, 4), 'num_blocks': (1, 2, 1), 'group_channels': 4}
CONFIGS = {'G': R3GANGeneratorConfig(z_dim=6, **LAYOUT), 'D': R3GANDiscriminatorConfig(**LAYOUT)}
Networks = dict[str, torch.nn.Module]


def networks() -> Networks:
    """Returns small networks with random weights everywhere."""
    seed_torch(0, 'test')
    G, D = build_networks(run_config(SPEC, CONFIGS['G'], CONFIGS['D']), SPEC)
    for parameter in (*G.parameters(), *D.parameters()):
        torch.nn.init.normal_(parameter, std=0.3)
    return {'G': G, 'D': D}


def write(path: Path, change: Callable[[Networks], None] = lambda modules: None, **names: str) -> Path:
    """Writes a snapshot of `networks`, as the official code does.

    Args:
        path: The file.
        change: Function that changes the modules before they are written.
        names: Names of modules, as `official_classes` takes them.
    """
    with official_classes(**names) as make:
        modules = {
            key: official_network(make, key[0], CONFIGS[key[0]], networks()[key[0]].state_dict(), lowered=2)
            for key in ('G', 'D')
        }
        change(modules)
        path.write_bytes(pickle.dumps({'G_ema': modules['G'], 'D': modules['D'], 'cur_nimg': 7}, 4))
    return path


@torch.no_grad()
def test_the_golden_file_draws_and_judges_as_it_did(golden: Path) -> None:
    snapshot, g = load_snapshot(golden / 'r3gan_official_layout_cond.pkl'), Golden(golden, 'cond')
    cfg, spec = snapshot.config()
    assert (spec.resolution, spec.channels, spec.label_dim, spec.num_images) == (16, 3, 3, 200)
    layout = {'widths': (16, 12, 8), 'num_blocks': (1, 2, 1), 'group_channels': 8, 'num_fp16_res': 1}
    assert cfg.generator == R3GANGeneratorConfig(z_dim=12, **layout)
    assert cfg.discriminator == R3GANDiscriminatorConfig(**layout)
    assert (cfg.cfg, cfg.data.mirror, cfg.data.cond) == ('r3gan', True, True)
    G = load_generator(snapshot, CPU, 'fp32')
    torch.testing.assert_close(G(g.t['z'], g.c), g.t['img'], rtol=0, atol=1e-5)
    for name, tensor in g.G.state_dict().items():
        assert torch.equal(snapshot.tensors[f'G_ema.{name}'], tensor), name
    assert load_D(snapshot)(g.t['img'], g.c).shape == (4, 1)  # two steps on from the golden one


def test_everything_in_the_golden_file_is_read_as_data(golden: Path) -> None:
    path = golden / 'r3gan_official_layout_cond.pkl'
    report = load_official(path).report
    assert report['cur_nimg'] == 1024
    for name, numbers in (('G_opt_state', 21_074), ('D_opt_state', 20_842)):
        assert report[name]['numbers'] == numbers
        assert report[name]['param_groups'][0]['betas'] == [0, 0.9]
    assert json.loads(json.dumps(report)) == report
    content = read_network_pickle(path)
    state = content['G_opt_state']['state']
    assert {name for slots in state.values() for name in slots} == {'step', 'exp_avg', 'exp_avg_sq'}
    assert all(tensor.isfinite().all() for slots in state.values() for tensor in slots.values())


@pytest.mark.parametrize(
    'names', [{}, {'wrapper': 'training.networks_baseline', 'package': 'BaselineGAN'}], ids=['now', 'earlier']
)
@torch.no_grad()
def test_files_of_every_version_are_read(tmp_path: Path, names: dict[str, str]) -> None:
    snapshot = load_snapshot(write(tmp_path / 'a.pkl', **names))
    own, cfg = networks(), snapshot.config()[0]
    assert cfg.generator == replace(CONFIGS['G'], num_fp16_res=2)
    assert cfg.discriminator == replace(CONFIGS['D'], num_fp16_res=2)
    z, c = torch.randn(3, 6), torch.eye(2)[[0, 1, 1]]
    img = own['G'](z, c)
    assert torch.equal(load_generator(snapshot, CPU, 'fp32')(z, c), img)
    assert torch.equal(load_D(snapshot)(img, c), own['D'](img, c))


def block(modules: Networks, net: str = 'G') -> Any:
    """Returns the residual block of the second stage's first block."""
    return modules[net].Model.MainLayers[1].Layers[1]


def swap(modules: Networks) -> None:
    modules['G'], modules['D'] = modules['D'], modules['G']


REFUSED: dict[str, tuple[Callable[[Networks], Any], str]] = {
    'swapped': (swap, 'G_ema: a training.networks.Discriminator; expected an R3GAN Generator'),
    'lowest stage lowered': (
        lambda m: setattr(m['G'].Model.MainLayers[0], 'DataType', torch.bfloat16),
        'dtypes of the stages are torch.bfloat16, torch.bfloat16, torch.bfloat16; expected float32, and bfloat16 in',
    ),
    'a stage between lowered': (
        lambda m: setattr(m['D'].Model.MainLayers[0], 'DataType', torch.float32),
        'D: dtypes of the stages are torch.float32, torch.bfloat16, torch.float32',
    ),
    'dtype is text': (
        lambda m: setattr(m['G'].Model.MainLayers[1], 'DataType', 'bfloat16'),
        'dtypes of the stages are torch.float32, str, torch.bfloat16',
    ),
    'stride': (
        lambda m: setattr(block(m).LinearLayer1.Layer, 'stride', (2, 2)),
        'G_ema: a convolution with stride=(2, 2); expected (1, 1)',
    ),
    'groups': (
        lambda m: setattr(block(m).LinearLayer2.Layer, 'groups', 2),
        'a convolution with groups=2; expected 4',
    ),
    'padding mode': (
        lambda m: setattr(block(m).LinearLayer2.Layer, 'padding_mode', 'reflect'),
        "a convolution with padding_mode='reflect'; expected zeros",
    ),
    'flat weights': (
        lambda m: setattr(block(m).LinearLayer3.Layer, 'weight', torch.nn.Parameter(torch.zeros(8))),
        'a convolution with weights [8]; expected 4 dimensions',
    ),
    'two sizes of groups': (
        lambda m: block(m).LinearLayer2.__setattr__(
            'Layer', torch.nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False)
        ),
        'expansion and channels per group differ between stages: [(2.0, 4), (2.0, 8)]; expected one pair',
    ),
    'a stage without blocks': (
        lambda m: [m['G'].Model.MainLayers[1].Layers.__delitem__(1) for _ in range(2)],
        'stages [0, 2] have residual blocks; expected 0, 1, ...',
    ),
    'a further tensor': (
        lambda m: block(m).register_buffer('Extra', torch.zeros(2)),
        'MainLayers.1.Layers.1.Extra is unknown',
    ),
    'another filter': (
        lambda m: setattr(m['G'].Model.MainLayers[1].Layers[0].Resampler, 'Kernel', torch.ones(6, 6)),
        'stages.1.transition.resample_filter is [6, 6] torch.float32, expected [4, 4]',
    ),
    'no image layer': (
        lambda m: m['D'].Model.__delattr__('ExtractionLayer'),
        'D: ExtractionLayer.Layer.weight is missing; expected 4 dimensions',
    ),
    'tensors outside of the model': (
        lambda m: m['G'].register_buffer('w_avg', torch.zeros(3)),
        'has w_avg; expected tensors of Model',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_networks_that_ours_cannot_equal_are_refused(tmp_path: Path, case: str) -> None:
    change, message = REFUSED[case]
    assert message in official_refusal(write(tmp_path / 'a.pkl', change))


def test_an_optimizer_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.pkl')
    with official_classes() as make:
        G = official_network(make, 'G', CONFIGS['G'], networks()['G'].state_dict())
        path.write_bytes(pickle.dumps({'G_ema': G, 'G_opt_state': [1]}, 4))
    assert 'G_opt_state holds no state of an optimizer' in official_refusal(path)


def test_a_class_without_its_attributes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'a.pkl'
    path.write_bytes(b'\x80\x04\x8c\x11training.networks\x8c\x09Generator\x93)\x81.')
    assert 'without its contents' in official_refusal(path)


def test_generate_draws_with_an_official_file(tmp_path: Path, golden: Path) -> None:
    flags = [f'--network={golden / "r3gan_official_layout_cond.pkl"}', '--class=1', '--seeds=0-1', '--trunc=0.7']
    result = CliRunner().invoke(generate.main, [*flags, f'--outdir={tmp_path}', '--device=cpu'], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['seed0000.png', 'seed0001.png']


def test_a_run_starts_from_an_official_file(golden: Path) -> None:
    source = load_source(str(golden / 'r3gan_official_layout_cond.pkl'))
    cfg, spec = load_snapshot(golden / 'r3gan_official_layout_cond.pkl').config()
    G, D = build_networks(cfg, spec)
    nets = {'G': G, 'D': D, 'G_ema': build_networks(cfg, spec)[0]}
    report = transfer(nets, source, lambda line: None, lambda line: None)
    assert [row['share'] for row in report['networks'].values()] == pytest.approx([1, 1, 1])
    assert not any(row['skipped'] for row in report['networks'].values())
    assert torch.equal(G.to_rgb.weight, source.tensors['G.to_rgb.weight'])
