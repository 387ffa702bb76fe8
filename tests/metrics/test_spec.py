"""Metric names: every promise of the grammar, and answers that help."""

import dataclasses
import subprocess
import sys

import pytest

from dnnlib.errors import ConfigError
from metrics import spec
from metrics.detectors.table import DETECTORS, Entry, get_detector
from metrics.spec import LPIPS, PathSpec, default_metrics, metric_list, metric_names, official_names, parse_metric


@pytest.mark.parametrize(
    ('name', 'kind', 'num_fakes', 'full', 'neighbors'),
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
        ('dc_efflite10k_full', 'dc', 10_000, True, 5),
        ('dc_efflite10k3', 'dc', 10_000, False, 3),
        ('mem_efflite_1k_full', 'mem', 1_000, True, 0),
    ],
)
def test_a_name_says_kind_detector_count_neighbours_and_reference(name, kind, num_fakes, full, neighbors):
    spec = parse_metric(name)
    assert (spec.name, spec.kind, spec.detector) == (name, kind, 'efflite')
    assert (spec.num_fakes, spec.full, spec.neighbors) == (num_fakes, full, neighbors)


@pytest.mark.parametrize(
    'name',
    [
        '',
        'fd',
        'fd_efflite',
        'fd_efflite0',
        'fd_efflite05k',
        'fd_efflite2k3',  # neighbors belong to precision and recall
        'pr_efflite2k0',
        'is_efflite2k_full',  # the score looks at no real image
        'mem_efflite2k3',
        'fid2k3',
        'is50k_full',
        'fid_50k',
        'ppl3_wend',
        'ppl_xend',
        'ppl_wend_full',
        'fd_efflite2K',
        'fd_efflite2k_ful',
        'fd_efflite2k_full ',
        'fd_efflite٢k',  # digits of other scripts
        'fd_resnet50k_full',
        'xx_efflite50k',
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(name):
    with pytest.raises(ConfigError) as error:
        parse_metric(name)
    answer = str(error.value)
    assert all(known in answer for known in (*official_names(), *DETECTORS, 'fd_DETECTOR50k_full', 'is_DETECTOR50k'))
    assert '\n' not in answer
    assert len(answer) < 600


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [
        ('FID10k_full', 'fid10k_full'),
        ('FD_EffLite2K', 'fd_efflite2k'),
        ('Ppl2_WEnd', 'ppl2_wend'),
        ('FIDD50k', 'fid50k'),
    ],
)
def test_another_case_is_answered_with_the_name_that_is_meant(name, nearest):
    with pytest.raises(ConfigError, match=rf'nearest: {nearest}\)'):
        parse_metric(name)


def test_a_list_of_metrics_is_read_with_spaces_each_once_and_none_in_any_case():
    assert metric_list('fid50k_full, kid50k,,fid50k_full ') == ('fid50k_full', 'kid50k')
    for nothing in ('none', 'None', 'NONE', ' none ', 'none,none', ''):
        assert metric_list(nothing) == ()


def test_none_next_to_a_name_is_refused_and_both_ways_out_work():
    with pytest.raises(ConfigError) as caught:
        metric_list('fd_efflite2k,None')
    message = str(caught.value)
    assert message.endswith('give --metrics=none or --metrics=fd_efflite2k')
    ways_out = message.partition('give ')[2].split(' or ')
    assert [metric_list(way_out.removeprefix('--metrics=')) for way_out in ways_out] == [(), ('fd_efflite2k',)]


@pytest.mark.parametrize('word', ['no', 'Off', '0', 'null', 'FALSE', 'Nothing'])
def test_other_words_for_nothing_are_answered_with_none(word):
    with pytest.raises(ConfigError, match=r'to measure nothing, give --metrics=none'):
        metric_list(word)


def test_a_cpu_measures_fewer_images_by_default(monkeypatch):
    monkeypatch.setattr(spec, 'available', lambda name: True)
    assert default_metrics('cuda') == ('fd_efflite50k_full',)
    assert default_metrics('cpu') == ('fd_efflite2k',)
    monkeypatch.setattr(spec, 'available', lambda name: False)
    assert default_metrics('cpu') == ()


def test_a_near_miss_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r'nearest: fd_efflite50k_full'):
        parse_metric('fd_eflite50k_full')


@pytest.mark.parametrize(
    ('official', 'ours'),
    [
        ('fid50k_full', 'fd_inception50k_full'),
        ('fid50k', 'fd_inception50k'),
        ('fid10k_full', 'fd_inception10k_full'),
        ('kid50k_full', 'kid_inception50k_full'),
        ('kid50k', 'kid_inception50k'),
        ('pr50k3_full', 'pr_vgg1650k3_full'),
        ('pr50k3', 'pr_vgg16_50k3'),
        ('is50k', 'is_inception50k'),
    ],
)
def test_an_official_name_is_one_of_ours_over_the_official_network(official, ours):
    assert parse_metric(official) == dataclasses.replace(parse_metric(ours), name=official)


@pytest.mark.parametrize(
    ('name', 'num_pairs', 'space', 'sampling', 'crop'),
    [
        ('ppl2_wend', 50_000, 'w', 'end', False),
        ('ppl_zfull', 50_000, 'z', 'full', True),
        ('ppl_wfull', 50_000, 'w', 'full', True),
        ('ppl_zend', 50_000, 'z', 'end', True),
        ('ppl_wend', 50_000, 'w', 'end', True),
        ('ppl2_zend2k', 2_000, 'z', 'end', False),
        ('ppl2_wfull300', 300, 'w', 'full', False),
    ],
)
def test_a_path_length_says_space_place_and_crop(name, num_pairs, space, sampling, crop):
    spec = parse_metric(name)
    assert (spec.kind, spec.detector, spec.num_fakes) == ('ppl', LPIPS, num_pairs)
    assert spec.path == PathSpec(space=space, sampling=sampling, crop=crop)
    assert spec.num_reals(4096) == 0


def test_a_detector_name_that_ends_in_a_digit_is_read_with_and_without_underscore():
    for name in ('fd_dinov2_50k_full', 'fd_dinov250k_full'):
        assert (parse_metric(name).detector, parse_metric(name).num_fakes) == ('dinov2', 50_000)
    assert parse_metric('fd_vgg16conv10k').detector == 'vgg16conv'


def test_a_detector_without_classes_gives_no_inception_score():
    with pytest.raises(ConfigError, match='vgg16 has no classes'):
        parse_metric('is_vgg16_50k')
    assert not any(name.startswith('is_vgg16') for name in metric_names())


def test_a_detector_that_is_added_later_is_known(monkeypatch):
    with pytest.raises(ConfigError):
        parse_metric('fd_later50k')
    monkeypatch.setitem(DETECTORS, 'later', Entry('nowhere:Later', '', 0, 0))
    assert parse_metric('fd_later50k').detector == 'later'


def test_official_bounds_on_the_reals_hold():
    assert parse_metric('kid50k_full').num_reals(2_000_000) == 1_000_000
    assert parse_metric('pr50k3_full').num_reals(2_000_000) == 200_000
    assert parse_metric('fid50k_full').num_reals(2_000_000) == 2_000_000


def test_distances_and_lengths_are_better_low():
    lower = ('fid50k_full', 'kid50k', 'ppl2_wend', 'fd_efflite2k')
    assert all(parse_metric(name).lower_is_better for name in lower)
    higher = ('pr50k3_full', 'is50k', 'dc_efflite2k', 'mem_efflite2k')
    assert not any(parse_metric(name).lower_is_better for name in higher)


def test_the_reference_is_every_real_image_or_the_first_count():
    assert parse_metric('fd_efflite2k_full').num_reals(4096) == 4096
    assert parse_metric('fd_efflite2k').num_reals(4096) == 2000
    assert parse_metric('fd_efflite2k').num_reals(300) == 300
    assert parse_metric('is_efflite2k').num_reals(4096) == 0


def test_every_usual_name_parses():
    assert [parse_metric(name).name for name in metric_names()] == metric_names()


def test_an_unknown_detector_is_refused_with_the_list():
    with pytest.raises(ConfigError, match='efflite'):
        get_detector('resnet')


@pytest.mark.slow
def test_the_official_names_are_those_of_stylegan2_ada_the_usual_ones_first():
    names = official_names()
    assert set(names[:5]) == {'fid50k_full', 'kid50k_full', 'pr50k3_full', 'ppl2_wend', 'is50k'}
    others = {'fid50k', 'kid50k', 'pr50k3', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend'}
    equivariance = {'eqt50k_int', 'eqt50k_frac', 'eqr50k'}  # StyleGAN3's
    assert set(names[5:]) == others | equivariance
    assert len(names) == 15


@pytest.mark.slow
def test_importing_the_grammar_loads_no_torch():
    code = "import sys, metrics.spec; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], check=True)
