"""GGDR: the distance that D is asked for, and the networks that it teaches."""

import dataclasses

import pytest
import torch

from tests.support.guided import CPU, ON, Scorer, small
from tests.support.steps import assert_resumes
from training.augment import geometric
from training.augment.config import AugmentConfig
from training.build import build, build_networks
from training.config import LossConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import FeatureTap
from training.step import TrainStep


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=32))


def batch(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, [4, 3, 32, 32], dtype=torch.uint8, generator=draw), torch.zeros(4, 0)


@pytest.mark.parametrize('kind', ['logistic', 'relativistic'])
@pytest.mark.parametrize('name', ['auto', 'squeeze'])
def test_it_trains_with_any_style_generator_and_resumes(dataset, name, kind):
    cfg = small(dataset, name, ggdr=ON, loss=LossConfig(kind=kind))
    whole = assert_resumes(cfg, dataset, 1, 1)
    summary = whole.stats.summary()
    assert 0 < summary['Loss/D/ggdr']['mean'] < 20
    assert summary['Loss/D/ggdr']['num'] == 2 * 4  # generated images alone


def test_it_teaches_d_and_leaves_g_alone(dataset):
    scorer = Scorer(small(dataset, ggdr=ON), dataset.spec, dataset)
    img, summands = scorer.generated()
    assert {name: summand.loss.shape for name, summand in summands.items()} == {'ggdr': (2,)}
    sum(summand.loss.sum() for summand in summands.values()).backward()
    dead = [key for key, p in scorer.state.D.named_parameters() if p.grad is None]
    assert {key.split('.')[0] for key in dead} == {'b4'}  # only the way to the logit
    assert all(p.grad is None for p in scorer.state.G.parameters())
    assert not scorer.summands(img, img, None)


def test_it_reads_features_that_are_not_square(dataset):
    spec = dataclasses.replace(dataset.spec, base=(4, 6))
    scorer = Scorer(small(dataset, ggdr=ON), spec, dataset)
    img, summands = scorer.generated()
    assert img.shape == (2, 3, 32, 48)
    assert all(summand.loss.isfinite().all() for summand in summands.values())
    assert len(summands) == 1


def test_ggdr_is_one_minus_the_cosine_at_each_position(dataset):
    torch.manual_seed(0)
    G, D = build_networks(small(dataset, ggdr=ON), dataset.spec)
    predictor = D.ggdr
    assert predictor.resolution == 8  # a quarter of 32
    z = torch.randn(2, 8)
    with FeatureTap(G).open() as of_g:
        img = G(z, None)
    with FeatureTap(D).open() as of_d:
        D(img, None)
    assert {res: x.shape[-1] for res, x in of_g.items()} == {4: 4, 8: 8, 16: 16}
    assert {res: x.shape[-1] for res, x in of_d.items()} == {4: 4, 8: 8, 16: 16}
    a, b = predictor.decoder(of_d).detach().double(), of_g[8].detach().double()
    expected = [
        sum(1 - float(a[n, :, y, x] @ b[n, :, y, x] / (a[n, :, y, x].norm() * b[n, :, y, x].norm()))
            for y in range(8) for x in range(8)) / 64
        for n in range(2)
    ]  # fmt: skip
    found = predictor(of_d, of_g[8].detach()).double()
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=1e-5, atol=1e-6)


def test_under_ada_the_features_are_moved_as_the_image_is(dataset):
    scorer = Scorer(small(dataset, ggdr=ON), dataset.spec, dataset)
    img, _ = scorer.generated()
    features, inverse = torch.randn(2, 16, 8, 8), geometric.quarter_turns(torch.ones(2))

    def loss(features, moved_by):
        return scorer.summands(img, img, {8: features}, inverse=moved_by)['ggdr'].loss.detach()

    assert torch.equal(loss(features, inverse), loss(geometric.move_features(features, inverse, 32), None))
    assert not torch.allclose(loss(features, inverse), loss(features, None), rtol=1e-3)
    assert torch.equal(loss(features, torch.eye(3).double().repeat(2, 1, 1)), loss(features, None))


@pytest.mark.parametrize('name', ['auto', 'squeeze'])
def test_it_trains_under_ada_and_is_finite(dataset, name):
    cfg = small(dataset, name, ggdr=ON)
    cfg = dataclasses.replace(cfg, aug=AugmentConfig(kind='fixed', p=0.8, pipe='bgc'))
    state = build(cfg, dataset.spec, CPU)
    step = TrainStep(cfg, state, dataset, CPU)
    for _ in range(2):
        step(*batch(state.step))
    assert 0 < state.stats.summary()['Loss/D/ggdr']['mean'] < 20
    assert state.stats.summary()['Loss/D/loss']['mean'] > 0
