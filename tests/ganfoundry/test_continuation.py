"""A run that continues: flags that cannot change, options that every launch needs, and the printed command."""

import dataclasses
import shlex
import sys
from pathlib import Path

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.continuation import changes_again, check_frozen, check_same, continue_command
from ganfoundry.options import TrainFlags
from training.data.dataset import DataConfig
from training.interface import ImageSpec
from training.registry import RECIPES

SPEC = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=40)


@pytest.fixture
def cfg():
    return dataclasses.replace(RECIPES.get('auto').make(SPEC, 1), data=DataConfig(path='/data/a.zip'), seed=3)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ({'cfg': 'squeeze'}, '--cfg=squeeze: this run began with auto and continues with it; drop the flag'),
        ({'seed': 4}, '--seed=4: this run began with 3'),
        ({'mirror': True}, '--mirror=True: this run began with False'),
        ({'cond': True}, '--cond=True: this run began with False'),
    ],
)
def test_a_flag_that_would_make_another_run_is_refused(cfg, flags, message):
    with pytest.raises(ConfigError) as error:
        check_same(cfg, TrainFlags(**flags))
    assert str(error.value).startswith(message)


def test_the_same_values_and_other_flags_are_taken(cfg):
    check_same(cfg, TrainFlags(cfg='auto', seed=3, mirror=False, kimg=7, data='/elsewhere.zip'))


def test_a_change_of_the_frozen_layers_is_refused(cfg):
    check_frozen(cfg, cfg)
    frozen = dataclasses.replace(cfg, discriminator=dataclasses.replace(cfg.discriminator, freezed=2))
    with pytest.raises(ConfigError, match='--freezed=2: this run began with 0 and continues with it; drop the flag'):
        check_frozen(cfg, frozen)


def test_only_options_that_find_the_data_are_needed_again(cfg):
    assert changes_again(cfg, dataclasses.replace(cfg, kimg=7)) == ()
    moved = dataclasses.replace(cfg, data=DataConfig(path='/b.zip'), metric_data='/real', data_check='off')
    assert changes_again(cfg, moved) == ('--data=/b.zip', '--metric-data=/real', '--set=data_check=off')
    assert changes_again(moved, dataclasses.replace(moved, metric_data=None)) == ('--metric-data=none',)


@pytest.mark.parametrize(
    ('program', 'expected'),
    [('/x/train.py', ['python', 'train.py']), ('/bin/ganfoundry', ['ganfoundry', 'train'])],
)
def test_the_printed_command_is_that_of_the_program_and_survives_a_shell(monkeypatch, program, expected):
    monkeypatch.setattr(sys, 'argv', [program])
    command = continue_command(Path("/runs/it's a run"), ('--plugin=/a b.py',))
    assert shlex.split(command) == [*expected, "--resume=/runs/it's a run", '--plugin=/a b.py']
