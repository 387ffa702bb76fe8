"""APA: which images D is shown for real ones, and what its strength follows."""

import dataclasses

import pytest
import torch

from tests.support.steps import assert_resumes, tiny, train
from training.augment.apa import deceive
from training.augment.config import AugmentConfig
from training.config import GradientPenaltyConfig, LossConfig, R1Config
from training.data.dataset import DataConfig, ImageDataset

# p moves by 0.05 every second step
APA = AugmentConfig(kind='apa', p=0.5, interval=2, kimg=0.16)


@pytest.fixture(scope='module')
def labelled():
    return ImageDataset(DataConfig(resolution=8, cond=True))


def numbered(c):
    """Images whose every pixel is 1000 and their label."""
    return 1000 + c[:, :1, None, None].expand(-1, 3, 4, 4)


def shown(p, n=6, whole=False, seed=0):
    torch.manual_seed(seed)
    img = torch.arange(float(n))[:, None, None, None].expand(-1, 3, 4, 4)
    made = []

    def generate(c):
        made.append(len(c))
        return numbered(c)

    return deceive(img, torch.arange(float(n))[:, None], p, generate, whole), made


def test_p_zero_is_the_identity_and_draws_nothing():
    img, before = torch.randn(4, 3, 8, 8), torch.get_rng_state()
    result = deceive(img, torch.zeros(4, 0), 0.0, lambda c: pytest.fail('generated'), whole=False)
    assert result.img is img
    assert result.real is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('whole', [False, True])
def test_each_image_is_itself_or_a_generated_one_of_its_label(whole):
    for seed in range(20):
        (img, real), made = shown(0.5, whole=whole, seed=seed)
        values = img[:, 0, 0, 0].tolist()
        kept = list(range(6)) if real is None else real.tolist()
        assert values == [i if i in kept else 1000 + i for i in range(6)]
        assert made == ([] if len(kept) == 6 else [6] if whole else [6 - len(kept)])
        assert torch.equal(img, img[:, :1, :1, :1].expand_as(img))


def test_each_image_is_replaced_with_probability_p_by_itself():
    """Binomial in each of two places, and the places independent; five standard deviations of 1000 draws."""
    p, num = 0.3, 1000
    replaced = torch.tensor([[value >= 1000 for value in shown(p, n=2, seed=seed)[0].img[:, 0, 0, 0].tolist()]
                             for seed in range(num)]).double()  # fmt: skip
    assert ((replaced.mean(dim=0) - p).abs() < 5 * (p * (1 - p) / num) ** 0.5).all()
    assert abs(float(replaced.prod(dim=1).mean()) - p * p) < 5 * (p * p * (1 - p * p) / num) ** 0.5


def test_p_one_replaces_all():
    (img, real), _ = shown(1.0)
    assert (img >= 1000).all()
    assert real.tolist() == []


@pytest.mark.parametrize('kind', ['logistic', 'lsgan'])
def test_it_trains_and_resumes_bit_for_bit(labelled, kind):
    cfg = tiny(labelled, aug=APA, loss=LossConfig(kind=kind), r1=R1Config(gamma=1, interval=2))
    whole = assert_resumes(cfg, labelled, 3, 3)
    assert whole.controller.p != APA.p
    assert whole.stats.summary()['Health/nonfinite_steps']['mean'] == 0


def test_d_is_deceived_in_its_main_phase_alone_and_p_follows_real_images(dataset, monkeypatch):
    """At p = 1 only R1 shows D real images, so only its signs are counted: 4 per step of Dreg."""
    aug = AugmentConfig(kind='apa', p=1.0, p_max=1.0, interval=100)
    cfg = tiny(dataset, aug=aug, r1=R1Config(gamma=1, interval=2))
    state, _ = train(cfg, dataset, 1)
    assert state.controller.state_dict()['sums'][1] == 4
    state, _ = train(dataclasses.replace(cfg, r1=R1Config(gamma=0)), dataset, 1)
    assert state.controller.state_dict()['sums'] == [0, 0]
    half = dataclasses.replace(aug, p=0.0)
    state, _ = train(dataclasses.replace(cfg, aug=half), dataset, 2)
    assert state.controller.state_dict()['sums'][1] == 2 * 4 + 4


def test_without_any_chosen_the_step_is_the_plain_one(dataset):
    cfg = tiny(dataset, gp=GradientPenaltyConfig(weight=1))
    plain, _ = train(cfg, dataset, 2)
    apa, _ = train(dataclasses.replace(cfg, aug=AugmentConfig(kind='apa')), dataset, 2)
    for name, value in plain.tensors().items():
        assert torch.equal(apa.tensors()[name], value), name
