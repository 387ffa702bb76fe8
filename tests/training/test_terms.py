"""Losses of the phases under an augmentation: the images that D sees, the plain step at p = 0, and resuming."""

import dataclasses
from typing import get_args

import pytest
import torch

from tests.support.steps import CPU, assert_resumes, assert_same, tiny, train
from training.augment import config, diffaug, view
from training.augment.config import AugmentConfig, Pipe
from training.augment.controller import Controller
from training.augment.presets import PRESETS
from training.build import build
from training.config import GradientPenaltyConfig, LossConfig, R1Config, R2Config
from training.run.report import status_line, tick_record
from training.step import TrainStep

ALL = {
    'gp': GradientPenaltyConfig(weight=1),
    'r1': R1Config(gamma=1, interval=2),
    'r2': R2Config(gamma=1),
}
FIXED = AugmentConfig(kind='fixed', p=0.7)


@pytest.fixture
def doubled(monkeypatch):
    """An augmentation that doubles every image, and what it was given."""
    given = []

    def double(img, p):
        given.append(img)
        return 2 * img

    monkeypatch.setattr(view, '_augment_of', lambda cfg: lambda img, p: view.Seen(double(img, p), None))
    return given


def one_phase(cfg, dataset, name):
    """Returns the step after that phase alone, and the images that D saw in it.

    Args:
        cfg: Config of the run.
        dataset: Data set.
        name: Name of the phase.
    """
    state = build(cfg, dataset.spec, CPU)
    seen = []
    state.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    step = TrainStep(cfg, state, dataset, CPU)
    img = torch.randint(0, 256, [4, 3, 8, 8], dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    step.run_phase(next(p for p in step.phases if p.name == name), step.split(img, torch.zeros(4, 0)))
    return step, seen


@pytest.mark.parametrize(
    ('kind', 'phase', 'views', 'passes'),
    [
        ('logistic', 'Gmain', 1, 1),  # generated
        ('relativistic', 'Gmain', 2, 2),  # generated, real
        ('logistic', 'Dmain', 2, 3),  # generated, real; between them
        ('relativistic', 'Dmain', 2, 3),
        ('logistic', 'Dreg', 2, 2),  # R1, R2
        ('logistic', 'Greg', 0, 0),  # path length
    ],
)
def test_d_sees_every_image_augmented_once(dataset, doubled, kind, phase, views, passes):
    cfg = tiny(dataset, aug=FIXED, loss=LossConfig(kind=kind), **ALL)
    _, seen = one_phase(cfg, dataset, phase)
    assert (len(doubled), len(seen)) == (2 * views, 2 * passes)  # two micro-batches
    shown = [img for i, img in enumerate(seen) if i % passes < views]
    for img, original in zip(shown, doubled, strict=True):
        assert torch.equal(img, 2 * original)


def test_the_gradient_penalty_lies_between_augmented_images(dataset, doubled):
    cfg = tiny(dataset, aug=FIXED, **ALL)
    _, seen = one_phase(cfg, dataset, 'Dmain')
    fake, real, between = seen[:3]
    share = (between - fake) / (real - fake)
    spread = share.flatten(1).quantile(torch.tensor([0.25, 0.75]), dim=1)
    torch.testing.assert_close(spread[0], spread[1], rtol=1e-2, atol=1e-2)
    assert ((spread >= 0) & (spread <= 1)).all()


def test_r1_is_of_the_image_before_the_augmentation(dataset, doubled):
    """D(2 x) has in x twice the gradient that D has at 2 x."""
    step, seen = one_phase(tiny(dataset, aug=FIXED, **ALL), dataset, 'Dreg')
    fresh = build(step.cfg, dataset.spec, CPU).D
    norms = []
    for img in seen[::2]:  # R1's; R2's are between them
        img.requires_grad_(True)
        (gradient,) = torch.autograd.grad(fresh(img, torch.zeros(2, 0)).sum(), img)
        norms.append(4 * gradient.square().sum(dim=(1, 2, 3)))
    reported = step.state.stats.summary()['Loss/r1_penalty']
    assert reported['mean'] == pytest.approx(torch.cat(norms).double().mean().item(), rel=1e-3)


def test_gradients_reach_g_through_the_augmentation(dataset, doubled):
    plain, augmented = (tiny(dataset, aug=aug) for aug in (AugmentConfig(kind='fixed', p=0.0), FIXED))
    (a, _), (b, _) = (one_phase(cfg, dataset, 'Gmain') for cfg in (plain, augmented))
    norms = [sum(p.grad.norm() for p in step.state.G.parameters() if p.grad is not None) for step in (a, b)]
    assert norms[0] != norms[1]
    assert norms[1] > 0


@pytest.mark.parametrize('aug', [AugmentConfig(kind='fixed', p=0.0), AugmentConfig(kind='ada')], ids=lambda a: a.kind)
def test_at_p_zero_the_step_is_the_plain_one(dataset, aug):
    """Compares four steps, the controller's first interval, whose sums it has not yet applied."""
    cfg = tiny(dataset, **ALL)
    (plain, _), (other, _) = train(cfg, dataset, 4), train(dataclasses.replace(cfg, aug=aug), dataset, 4)
    other.parts.pop('controller', None)
    assert_same(plain, other)


@pytest.mark.parametrize(('kind', 'p'), [('fixed', 0.0), ('ada', 0.0), ('noaug', 0.5), ('apa', 0.5)])
def test_at_p_zero_and_without_a_pipe_an_image_is_itself_and_nothing_is_drawn(kind, p):
    img, before = torch.randn(2, 3, 8, 8), torch.get_rng_state()
    cfg = AugmentConfig(kind=kind, p=p)
    assert view.View(cfg, Controller(cfg, 4, CPU) if cfg.adapts else None)(img) is img
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('aug', 'kind'),
    [(FIXED, 'logistic'), (FIXED, 'relativistic'), (AugmentConfig(kind='diffaug'), 'logistic'),
     (AugmentConfig(kind='ada', p=0.4, target=1.0, interval=2, kimg=0.16), 'lsgan')],
)  # fmt: skip
def test_a_run_with_augmentation_resumes_bit_for_bit(dataset, aug, kind):
    whole = assert_resumes(tiny(dataset, aug=aug, loss=LossConfig(kind=kind), **ALL), dataset, 3, 3)
    assert whole.stats.summary()['Health/nonfinite_steps']['mean'] == 0
    assert (whole.controller is not None) == (aug.kind == 'ada')
    if aug.kind == 'ada':
        # p falls by 4 * 2 / 160 every second step, one interval late.
        assert whole.controller.p == pytest.approx(0.4 - 2 * 0.05)
    plain, _ = train(tiny(dataset, loss=LossConfig(kind=kind), **ALL), dataset, 6)
    assert not torch.equal(plain.D.b4.out.weight, whole.D.b4.out.weight)


def test_the_controller_counts_every_real_image_that_d_was_shown_in_dmain_and_dreg(dataset):
    cfg = tiny(dataset, aug=AugmentConfig(kind='ada', interval=100), **ALL)
    state, _ = train(cfg, dataset, 3)
    signs, num = state.controller.state_dict()['sums']
    assert num == 3 * 4 + 2 * 4  # Dmain in three steps, R1 at steps 0 and 2
    assert abs(signs) <= num


# ---- what is refused, recorded and planned


def test_the_config_names_the_pipes_presets_and_diffaugments_policies():
    assert get_args(Pipe) == tuple(PRESETS)
    assert config.POLICIES == diffaug.POLICIES
    assert {name for name in PRESETS if PRESETS[name].imgfilter > 0} == set(config.FILTERED)
    moved = {name for name, t in PRESETS.items() if t.geometric or t.cutout > 0}
    assert set(PRESETS) - moved == set(config.STILL)


def record(augment):
    return tick_record(nimg=4000, tick=1, tick_nimg=4000, tick_sec=1, maintenance_sec=0, total_sec=1, losses={
        'Loss/G/loss': {'mean': 1.0}, 'Loss/D/loss': {'mean': 1.0}}, phases={},
        others={'Resources/cpu_mem_gb': 1.0}, augment=augment)  # fmt: skip


def test_a_tick_tells_p_and_whether_its_cap_holds_it():
    line = record((0.123, False))
    assert (line['Progress/augment']['mean'], line['Progress/augment_at_cap']['mean']) == (0.123, 0)
    assert 'augment 0.123 G' in status_line(line, 10)
    assert 'augment 0.850 (cap) G' in status_line(record((0.85, True)), 10)


def test_the_strength_that_is_told(dataset):
    controller = build(tiny(dataset, aug=AugmentConfig(kind='ada', p=0.3)), dataset.spec, CPU).controller
    told = {kind: view.View(AugmentConfig(kind=kind, p=0.3), None).p for kind in ('noaug', 'fixed', 'diffaug')}
    assert told == {'noaug': 0, 'fixed': 0.3, 'diffaug': 1}
    assert view.View(controller.cfg, controller).p == 0.3
