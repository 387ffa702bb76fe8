"""The plan of a run in text."""

from tests.support.steps import tiny
from training import plan
from training.augment.config import AugmentConfig
from training.config import GradientPenaltyConfig, LeCamConfig, PathLengthConfig, R1Config, R2Config


def test_the_plan_names_the_augmentation(dataset):
    def line(**aug):
        text = plan._describe_schedule(tiny(dataset, aug=AugmentConfig(**aug), pl=PathLengthConfig(weight=0)))
        return text.splitlines()[-1].strip()

    assert line() == 'augmentation: none'
    assert line(kind='fixed', p=0.2, pipe='bg') == 'augmentation: bg at p 0.2'
    assert line(kind='ada').startswith('augmentation: ADA, bgc, p from 0 towards a mean sign of D of 0.6, by 1 in 500')
    assert 'DiffAugment, color' in line(kind='diffaug')
    assert 'APA' in line(kind='apa')


def test_the_plan_names_the_active_terms_with_weight_and_interval(dataset):
    cfg = tiny(dataset, r1=R1Config(gamma=2, interval=None), pl=PathLengthConfig(weight=0))
    assert plan._penalties(cfg) == 'R1 in every step (gamma 2)'
    cfg = tiny(dataset, r1=R1Config(gamma=0, interval=4), r2=R2Config(gamma=1), gp=GradientPenaltyConfig(weight=3),
               lecam=LeCamConfig(weight=0.1))  # fmt: skip
    assert plan._penalties(cfg) == (
        'R2 every 4 steps (gamma 1), gradient penalty in every step (weight 3), path length every 4 steps of G '
        '(weight 2), LeCam in every step (weight 0.1)'
    )
    assert plan._penalties(tiny(dataset, r1=R1Config(gamma=0), pl=PathLengthConfig(weight=0))) == 'no regularizer'
