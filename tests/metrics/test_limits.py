"""Limits: the smallest numbers of images, with their reasons."""

import pytest

from dnnlib.errors import ConfigError, DataError
from metrics.limits import check_counts
from metrics.spec import parse_metric

LEAST = {'fd': 2, 'kid': 2, 'pr': 8, 'dc': 12, 'mem': 4, 'is': 20}


@pytest.mark.parametrize('kind', LEAST)
def test_one_image_less_than_makes_sense_is_refused_with_the_reason(kind):
    least = LEAST[kind]
    check_counts(parse_metric(f'{kind}_efflite{least}'), least, in_halves=False)
    check_counts(parse_metric(f'{kind}_efflite{2 * least}'), least, in_halves=True)
    with pytest.raises(ConfigError, match=rf'it needs at least {least}: \w+'):
        check_counts(parse_metric(f'{kind}_efflite{least - 1}'), 100, in_halves=False)
    with pytest.raises(ConfigError, match=rf'it needs at least {2 * least} with its error from halves: \w+'):
        check_counts(parse_metric(f'{kind}_efflite{2 * least - 1}'), 100, in_halves=True)
    if kind != 'is':
        with pytest.raises(DataError, match=rf'needs at least {least} real images, the data set has {least - 1}: \w+'):
            check_counts(parse_metric(f'{kind}_efflite100'), least - 1, in_halves=False)


def test_more_neighbors_need_more_images():
    check_counts(parse_metric('pr_efflite1k9'), 20, in_halves=False)
    with pytest.raises(DataError, match='at least 20 real images, the data set has 19: the ball of 9 neighbors'):
        check_counts(parse_metric('pr_efflite1k9'), 19, in_halves=False)


def test_only_a_metric_that_compares_asks_for_reals():
    check_counts(parse_metric('is_efflite20'), None, in_halves=False)
    check_counts(parse_metric('ppl2_wend2'), None, in_halves=False)
    with pytest.raises(ConfigError, match='fd_efflite20 compares with real images; please specify --data'):
        check_counts(parse_metric('fd_efflite20'), None, in_halves=False)
