"""Metric names: every promise of the grammar, and answers that help."""

import subprocess
import sys

import pytest

from dnnlib.errors import ConfigError
from metrics.detectors import DETECTORS, get_detector
from metrics.spec import metric_names, parse_metric


@pytest.mark.parametrize(
    ('name', 'kind', 'num_fakes', 'full', 'neighbours'),
    [
        ('fd_efflite50k_full', 'fd', 50_000, True, 0),
        ('fd_efflite2k', 'fd', 2_000, False, 0),
        ('fd_efflite10k_full', 'fd', 10_000, True, 0),
        ('fd_efflite500', 'fd', 500, False, 0),
        ('kid_efflite50k_full', 'kid', 50_000, True, 0),
        ('pr_efflite50k3_full', 'pr', 50_000, True, 3),
        ('pr_efflite2k5', 'pr', 2_000, False, 5),
        ('pr_efflite50k10_full', 'pr', 50_000, True, 10),
        ('pr_efflite500', 'pr', 500, False, 3),
        ('is_efflite50k', 'is', 50_000, False, 0),
    ],
)
def test_a_name_says_kind_detector_count_neighbours_and_reference(name, kind, num_fakes, full, neighbours):
    spec = parse_metric(name)
    assert (spec.name, spec.kind, spec.detector) == (name, kind, 'efflite')
    assert (spec.num_fakes, spec.full, spec.neighbours) == (num_fakes, full, neighbours)


@pytest.mark.parametrize(
    'name',
    [
        '',
        'fd',
        'fd_efflite',
        'fd_efflite0',
        'fd_efflite05k',
        'fd_efflite2k3',  # neighbours belong to precision and recall
        'pr_efflite2k0',
        'is_efflite2k_full',  # the score looks at no real image
        'fd_efflite2K',
        'fd_efflite2k_ful',
        'fd_efflite2k_full ',
        'fd_efflite٢k',  # digits of other scripts
        'fd_resnet50k_full',
        'xx_efflite50k',
    ],
)
def test_an_unknown_name_is_refused_with_the_list_of_names(name):
    with pytest.raises(ConfigError) as error:
        parse_metric(name)
    assert all(known in str(error.value) for known in metric_names())
    assert '\n' not in str(error.value)


def test_a_near_miss_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r'nearest: fd_efflite50k_full'):
        parse_metric('fd_eflite50k_full')


@pytest.mark.parametrize(
    ('official', 'network', 'offline'),
    [
        ('fid50k_full', 'Inception network of 2015-12-05', 'fd_efflite50k_full'),
        ('fid50k', 'Inception network of 2015-12-05', 'fd_efflite50k_full'),
        ('kid50k_full', 'Inception network of 2015-12-05', 'kid_efflite50k_full'),
        ('is50k', 'Inception network of 2015-12-05', 'is_efflite50k'),
        ('pr50k3_full', 'VGG16', 'pr_efflite50k3_full'),
    ],
)
def test_official_names_are_answered_with_what_is_missing_and_what_works_offline(official, network, offline):
    with pytest.raises(ConfigError) as error:
        parse_metric(official)
    assert network in str(error.value)
    assert offline in str(error.value)


def test_the_reference_is_every_real_image_or_the_first_count():
    assert parse_metric('fd_efflite2k_full').num_reals(4096) == 4096
    assert parse_metric('fd_efflite2k').num_reals(4096) == 2000
    assert parse_metric('fd_efflite2k').num_reals(300) == 300
    assert parse_metric('is_efflite2k').num_reals(4096) == 0


def test_every_usual_name_parses():
    assert [parse_metric(name).name for name in metric_names()] == metric_names()
    assert len(metric_names()) == 4 * len(DETECTORS)


def test_an_unknown_detector_is_refused_with_the_list():
    with pytest.raises(ConfigError, match='efflite'):
        get_detector('resnet')


def test_names_are_checked_without_torch():
    code = "import sys, metrics.spec as m; m.parse_metric('fd_efflite2k'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], check=True)
