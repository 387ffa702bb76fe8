"""GGDR and GLeaD: what D is asked for, whom it teaches, and who may take part."""

import copy
import dataclasses
import json

import pytest
import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.upfirdn2d import upsample2d
from training.augment.config import AugmentConfig
from training.build import build, build_networks
from training.config import EmaConfig, GuidanceConfig, LossConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import FeatureTap
from training.objective.guidance import GGDR, GLeaD, Guidance
from training.registry import RECIPES
from training.step import TrainStep

CPU = torch.device('cpu')
ON = GuidanceConfig(weight=10)


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=32))


def small(dataset, name='auto', **changes):
    cfg = RECIPES.get(name).make(dataset.spec, 1)
    widths = {'channel_base': 256, 'channel_max': 16}
    return dataclasses.replace(
        cfg,
        generator=dataclasses.replace(cfg.generator, z_dim=8, w_dim=12, map_depth=1, **widths),
        discriminator=dataclasses.replace(cfg.discriminator, mbstd_group=2, **widths),
        batch=4, batch_gpu=2, ema=EmaConfig(kimg=0), aug=AugmentConfig(), **changes,
    )  # fmt: skip


def batch(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, [4, 3, 32, 32], dtype=torch.uint8, generator=draw), torch.zeros(4, 0)


@pytest.mark.parametrize('kind', ['logistic', 'relativistic'])
@pytest.mark.parametrize('name', ['auto', 'squeeze'])
def test_both_tasks_train_with_any_style_generator_and_resume(dataset, name, kind):
    cfg = small(dataset, name, ggdr=ON, glead=ON, loss=LossConfig(kind=kind))

    def train(steps, state=None):
        state = state or build(cfg, dataset.spec, CPU)
        step = TrainStep(cfg, state, dataset, CPU)
        for _ in range(steps):
            step(*batch(state.step))
        return state

    whole, half, resumed = train(2), train(1), build(cfg, dataset.spec, CPU)
    resumed.load(copy.deepcopy(half.tensors()), json.loads(json.dumps(half.scalars())), 'test')
    train(1, resumed)
    for key, value in whole.tensors().items():
        assert torch.equal(resumed.tensors()[key], value), key
    summary = whole.stats.summary()
    assert 0 < summary['Loss/D/ggdr']['mean'] < 20
    assert summary['Loss/D/ggdr']['num'] == 2 * 4  # generated images alone
    assert summary['Loss/D/glead']['num'] == 2 * 8  # real ones too


def test_tasks_teach_d_and_leave_g_alone(dataset):
    cfg = small(dataset, ggdr=ON, glead=ON)
    torch.manual_seed(0)
    G, D = build_networks(cfg, dataset.spec)
    guidance = Guidance(G.requires_grad_(False), D)
    with guidance.generating():
        img = G(torch.randn(2, 8), None)
    _, losses = guidance.score(img, torch.zeros(2, 0), generated=True)
    assert {name: loss.shape for name, loss in losses.items()} == {'ggdr': (2,), 'glead': (2,)}
    sum(loss.sum() for loss in losses.values()).backward()
    dead = [key for key, p in D.named_parameters() if p.grad is None]
    assert {key.split('.')[0] for key in dead} == {'b4'}  # only the way to the logit
    assert all(p.grad is None for p in G.parameters())
    assert guidance.score(img, torch.zeros(2, 0), generated=False)[1].keys() == {'glead'}


def test_tasks_read_features_that_are_not_square(dataset):
    spec = dataclasses.replace(dataset.spec, base=(4, 6))
    G, D = build_networks(small(dataset, ggdr=ON, glead=GuidanceConfig(weight=1, resolution=8)), spec)
    guidance = Guidance(G, D)
    with guidance.generating():
        img = G(torch.randn(2, 8), None)
    assert img.shape == (2, 3, 32, 48)
    _, losses = guidance.score(img, torch.zeros(2, 0), generated=True)
    assert all(loss.isfinite().all() for loss in losses.values())
    assert len(losses) == 2


def test_ggdr_is_one_minus_the_cosine_at_each_position(dataset):
    cfg = small(dataset, ggdr=ON)
    torch.manual_seed(0)
    G, D = build_networks(cfg, dataset.spec)
    task = D.ggdr
    assert isinstance(task, GGDR)
    assert task.resolution == 8  # a quarter of 32
    z = torch.randn(2, 8)
    with FeatureTap(G).open() as of_g:
        img = G(z, None)
    with FeatureTap(D).open() as of_d:
        D(img, None)
    assert {res: x.shape[-1] for res, x in of_g.items()} == {4: 4, 8: 8, 16: 16}
    assert {res: x.shape[-1] for res, x in of_d.items()} == {4: 4, 8: 8, 16: 16}
    a, b = task.decoder(of_d).detach().double(), of_g[8].detach().double()
    expected = [
        sum(1 - float(a[n, :, y, x] @ b[n, :, y, x] / (a[n, :, y, x].norm() * b[n, :, y, x].norm()))
            for y in range(8) for x in range(8)) / 64
        for n in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(
        task(G, img, None, of_d, of_g).double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-6
    )


def test_glead_redraws_exactly_what_g_would_from_its_own_features(dataset):
    cfg = small(dataset, glead=ON)
    torch.manual_seed(0)
    G, D = build_networks(cfg, dataset.spec)
    assert isinstance(D.glead, GLeaD)
    ws = G.mapping(torch.randn(2, 8), None)
    with FeatureTap(G).open() as of_g:
        whole = G.synthesis(ws, noise_mode='none')
    later = G.synthesis(ws, noise_mode='none', features=of_g[4])
    share = G.synthesis.b4(None, None, [ws[:, 0], ws[:, 1]], 'none')[1]  # [N, C, 4, 4]
    for _ in range(3):
        share = upsample2d(share, G.synthesis.b4.resample_filter)
    torch.testing.assert_close(later + share, whole)  # the image is a sum over blocks: what is missing is b4's share


def test_taps_are_closed_again(dataset):
    _, D = build_networks(small(dataset, ggdr=ON), dataset.spec)
    tap = FeatureTap(D)
    with tap.open() as features:
        D(torch.zeros(2, 3, 32, 32), None)
    before = dict(features)
    D(torch.ones(2, 3, 32, 32), None)
    assert features == before
    assert all(not block._forward_hooks for block in tap.blocks.values())


@pytest.mark.parametrize('field', ['ggdr', 'glead'])
def test_a_resolution_without_features_is_refused(dataset, field):
    with pytest.raises(ConfigError, match=rf'{field}\.resolution=64: features are at 4, 8, 16'):
        build_networks(small(dataset, **{field: GuidanceConfig(weight=1, resolution=64)}), dataset.spec)


def test_a_network_that_shows_no_features_is_refused(dataset):
    class Blind:
        img_resolution = 32

    _, D = build_networks(small(dataset), dataset.spec)
    with pytest.raises(
        ConfigError, match=r'ggdr\.weight=10\.0: this generator shows no features; --set ggdr\.weight=0'
    ):
        GGDR(GuidanceConfig(weight=10.0), dataset.spec, Blind(), D)
