"""The plan of a run in text."""

from dataclasses import replace

import pytest

from tests.support.steps import CPU, tiny
from training import plan
from training.augment.config import AugmentConfig
from training.config import GradientPenaltyConfig, LeCamConfig, PathLengthConfig, R1Config, R2Config
from training.trial import Trial


def test_the_plan_names_the_augmentation(dataset):
    def line(**aug):
        text = plan.describe_schedule(
            tiny(dataset, aug=AugmentConfig(**aug), pl=PathLengthConfig(weight=0)), dataset.spec
        )
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


def test_numbers_have_their_singular_and_epochs_their_precision(dataset):
    def schedule(num_images, **changes):
        cfg = replace(tiny(dataset), pl=PathLengthConfig(weight=0), **changes)
        return plan.describe_schedule(cfg, replace(dataset.spec, num_images=num_images))

    assert 'Schedule: 1 kimg = 250 steps of 4 images (1 process x 2 micro-batches x 2), 1.0 epochs' in schedule(1000)
    assert '1 step of D per step of G' in schedule(1000)
    assert '2 steps of D per step of G' in schedule(1000, n_critic=2)
    assert '1,000,000 epochs' in schedule(5, kimg=5000)
    assert '(1 in all)' in schedule(1000)
    assert '2 processes x 1 micro-batch x 2' in schedule(1000, gpus=2)


@pytest.mark.parametrize(
    ('channels', 'words'), [(1, 'gray, 8 bits'), (3, 'RGB, 8 bits'), (4, 'RGBA, four channels, 8 bits'),
                            (5, '5 channels, 8 bits')]
)  # fmt: skip
def test_the_facts_of_the_data_name_the_kind_of_images(dataset, channels, words):
    spec = replace(dataset.spec, channels=channels)
    text = plan.describe_data(tiny(dataset), spec)
    assert words in text
    assert text.startswith('Data: 4,096 images of 8x8')
    assert ('python dataset_tool.py --source=' in text) == (channels == 4)


@pytest.mark.parametrize(('processes', 'share'), [(1, ''), (2, ', divided by 2 processes')])
def test_the_plan_states_time_and_memory(dataset, processes, share):
    cfg = tiny(dataset, gpus=processes)
    text = plan.describe_trial(cfg, Trial(sec_per_kimg=90.0, num_bytes=10**9, sizes=(1, 2)), CPU)
    assert text.splitlines() == [
        f'Time: about 1m 30s per kimg on cpu, 1m 30s for 1 kimg, without metrics (measured on steps of 1 and 2 images'
        f'{share})',
        'Memory: about 1.0 GB per process on cpu, without the workers',
    ]


def test_a_run_that_exceeds_the_memory_of_the_machine_gets_a_smaller_micro_batch(dataset):
    cfg = replace(tiny(dataset), batch=32, batch_gpu=16)
    text = plan.describe_trial(cfg, Trial(sec_per_kimg=1.0, num_bytes=10**16, sizes=(8,)), CPU)
    assert text.endswith('--batch-gpu=8 accumulates the same batch in smaller parts')
