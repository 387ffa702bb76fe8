"""A run's config: changes across fields, and what is refused with its name."""

import dataclasses

import pytest

from dnnlib.errors import ConfigError
from tests.support.steps import tiny
from training import config
from training.augment.config import AugmentConfig
from training.config import (
    GLeaDConfig,
    GuidanceConfig,
    LossConfig,
    apply_overrides,
    differences,
    leaves_of,
    with_precision,
)
from training.interface import ImageSpec
from training.recipes import auto


def test_precision_lowers_blocks_and_only_float16_clamps():
    cfg = auto(ImageSpec(resolution=256, channels=3, label_dim=0, num_images=1000), 1)
    for precision, clamp, lowered in (('fp16', 256, 4), ('bf16', None, 4), ('fp32', None, 0)):
        changed = with_precision(cfg, precision)
        for network in (changed.generator, changed.discriminator):
            assert (network.conv_clamp, network.num_fp16_res) == (clamp, lowered)
        assert changed.precision == precision


def test_plug_ins_import_every_config_class_from_here():
    used = {field.default_factory for field in dataclasses.fields(config.RunConfig)} - {dict, dataclasses.MISSING}
    assert {cls.__name__ for cls in used} <= set(config.__all__)
    assert all(hasattr(config, name) for name in config.__all__)


def test_a_new_batch_is_one_micro_batch_per_process(dataset):
    cfg = apply_overrides(tiny(dataset), {'batch': '8', 'gpus': 2})
    assert (cfg.batch, cfg.batch_gpu, cfg.num_micro('G')) == (8, 4, 1)
    assert apply_overrides(tiny(dataset), {'batch': 8, 'batch_gpu': 2}).num_micro('D') == 4
    own = apply_overrides(tiny(dataset), {'batch': 8, 'g_batch_gpu': 2})
    assert (own.num_micro('G'), own.num_micro('D')) == (4, 1)
    with pytest.raises(ConfigError, match='batch=8: --batch must be a multiple of --gpus times --d-batch-gpu = 1 x 3'):
        apply_overrides(tiny(dataset), {'batch': 8, 'd_batch_gpu': 3})
    with pytest.raises(ConfigError, match='batch=7: --batch must be at least 1 and divisible by --gpus'):
        apply_overrides(tiny(dataset), {'batch': 7, 'gpus': 2})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'fresh_reals': True}, 'fresh_reals=True: the logistic loss of G sees no real images'),
        ({'loss': LossConfig(labels='paired'), 'g_batch_mult': 2}, r'loss\.labels=paired gives every generated image'),
    ],
)
def test_settings_that_need_real_images_in_pairs_are_refused_without_them(dataset, changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny(dataset, **changes)


def test_differences_are_named_by_path(dataset):
    old = tiny(dataset)
    new = apply_overrides(old, {'r1.gamma': 3, 'kimg': 2})
    assert differences(old, new) == [('r1.gamma', old.r1.gamma, 3.0), ('kimg', 1, 2)]
    assert 'terms' not in leaves_of(old)


@pytest.mark.parametrize('aug', ['ada', 'apa'])
@pytest.mark.parametrize('kind', ['wasserstein', 'relativistic'])
def test_p_does_not_follow_a_sign_that_means_nothing(dataset, aug, kind):
    with pytest.raises(ConfigError, match=rf'aug\.kind={aug}: .* loss\.kind={kind}; --set aug\.kind=noaug'):
        tiny(dataset, aug=AugmentConfig(kind=aug), loss=LossConfig(kind=kind))
    assert tiny(dataset, aug=AugmentConfig(kind='fixed'), loss=LossConfig(kind=kind)).aug.kind == 'fixed'


TASKS = {'ggdr': GuidanceConfig, 'glead': GLeaDConfig}
MOVING = [
    {'kind': 'ada'}, {'kind': 'fixed', 'pipe': 'cutout'}, {'kind': 'fixed', 'pipe': 'blit'}, {'kind': 'diffaug'},
    {'kind': 'diffaug', 'policy': 'color,cutout'},
]  # fmt: skip


@pytest.mark.parametrize(
    ('field', 'aug'), [('glead', aug) for aug in MOVING] + [('ggdr', aug) for aug in MOVING if aug['kind'] == 'diffaug']
)
def test_tasks_of_places_refuse_an_augmentation_that_moves_or_hides_them(dataset, field, aug):
    message = rf'{field}\.weight=1\.0: D then speaks .* aug\.kind={aug["kind"]} .*--set aug\.kind=noaug'
    with pytest.raises(ConfigError, match=message):
        tiny(
            dataset,
            aug=AugmentConfig(**aug),
            **{field: TASKS[field](weight=1.0)},
        )


@pytest.mark.parametrize(
    'aug',
    [{'kind': 'ada', 'pipe': 'color'}, {'kind': 'fixed', 'pipe': 'noise'}, {'kind': 'diffaug', 'policy': 'color'},
     {'kind': 'apa'}, {'kind': 'noaug'}, {'kind': 'ada', 'pipe': 'bgcfnc'}, {'kind': 'fixed', 'pipe': 'cutout'}],
)  # fmt: skip
def test_ggdr_follows_the_moves_of_ada_and_takes_every_other_augmentation(dataset, aug):
    assert tiny(dataset, aug=AugmentConfig(**aug), ggdr=GuidanceConfig(weight=1.0)).ggdr.weight == 1
