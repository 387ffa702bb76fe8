"""Settings of a projection: what follows from the method, and settings that do not fit."""

import math

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.projection.settings import MSE_WEIGHT, Settings, check_settings
from tests.support.networks import tiny_G


def test_start_and_weight_are_those_of_the_method_unless_they_are_given():
    direct, paper = Settings(space='w'), Settings(space='w', method='stylegan2')
    assert (direct.start, direct.mse_weight) == ('nearest', MSE_WEIGHT)
    assert (paper.start, paper.mse_weight) == ('mean', 0)
    given = Settings(space='w', method='stylegan2', init='me.npz', mse=2)
    assert (given.start, given.mse_weight) == ('me.npz', 2)


def test_pivotal_tuning_optimizes_points_of_w():
    assert [Settings(space=space).coordinates for space in ('z', 'w', 'w+', 'pti')] == ['z', 'w', 'w+', 'w']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'space': 'z', 'init': 'mean'}, '--init=mean: the mean of z is 0'),
        ({'space': 'pti', 'method': 'stylegan2'}, '--method=stylegan2: works in w and w+, not in pti'),
        ({'space': 'w', 'method': 'x'}, '--method=x: choose one of direct, stylegan2'),
        ({'space': 'w', 'tune_steps': 0}, '--tune-steps=0: must be a number of at least 1'),
        ({'space': 'w', 'max_drift': -0.1}, '--max-drift=-0.1: must be a number of at least 0'),
        ({'space': 'w', 'mse': math.nan}, '--mse=nan: must be a number of at least 0'),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_the_option(settings, message):
    with pytest.raises(ConfigError) as error:
        check_settings(Settings(**settings), tiny_G())
    assert str(error.value).startswith(message)


def test_settings_that_fit_are_taken():
    for space in ('z', 'w', 'w+', 'pti'):
        check_settings(Settings(space=space), tiny_G())
    check_settings(Settings(space='w+', method='stylegan2'), tiny_G())
