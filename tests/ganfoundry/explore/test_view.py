"""Views: every setting survives the address, and no text of an address becomes anything else than a setting."""

import dataclasses
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib.errors import ConfigError
from ganfoundry.explore.view import FIELDS, PARSERS, Step, View, parse_view

EVERY = View(
    seed=4294967295,
    seed2=7,
    seed3=8,
    start='me-0003',
    x=-0.25,
    y=1.0,
    distance=2.5,
    psi=0.7,
    class_text='3:0.3+7:0.7',
    noise='random',
    noise_seed=0,
    mix=9,
    styles=(0, 3, 11),
    sefa=(Step(0, 1.5), Step(3, -2.0)),
    pca=(Step(1, 0.1),),
    snapshot='network-snapshot-000200',
    recalibrate=True,
    translate_x=0.1,
    translate_y=-0.2,
    rotate=30.0,
)


def test_every_setting_survives_the_address():
    assert all(getattr(EVERY, field.name) != field.default for field in dataclasses.fields(View))
    assert parse_view(parse_qsl(EVERY.query())) == EVERY
    assert View().query() == ''
    assert parse_view([]) == View()


def test_every_setting_has_a_parser():
    assert PARSERS.keys() == {field.name for field in FIELDS.values()}


@settings(max_examples=50, deadline=None)
@given(st.text(), st.sampled_from(sorted(FIELDS)))
def test_any_text_of_a_setting_is_its_value_or_refused_by_name(text, key):
    try:
        view = parse_view([(key, text)])
    except ConfigError:
        with pytest.raises(ConfigError, match=f'^{key}[:=]'):
            parse_view([(key, text)])
        return
    assert parse_view(parse_qsl(view.query(), keep_blank_values=True)) == view


@pytest.mark.parametrize(
    ('pairs', 'message'),
    [
        ([('sed', '1')], 'sed: no setting of the explorer'),
        ([('seed', '1'), ('seed', '2')], 'seed: given twice'),
        ([('seed', '-1')], 'seed=-1: expected a whole number'),
        ([('seed', '4294967296')], 'expected a whole number from 0 to 4294967295'),
        ([('seed', '٣' * 11)], 'expected a whole number'),
        ([('psi', 'nan')], 'psi=nan: expected a finite number'),
        ([('x', '1e999')], 'expected a finite number'),
        ([('noise', 'loud')], 'noise=loud: choose one of const, random, none'),
        ([('styles', '0,,1')], 'styles=: expected indices from 0'),
        ([('sefa', '0')], 'sefa=: expected a finite number'),
        ([('recalibrate', 'yes')], 'recalibrate=yes: expected 0 or 1'),
        ([('class', 'x' * 5000)], 'class: longer than 4096 characters'),
        ([('token', 'x')], 'token: no setting of the explorer'),
    ],
)
def test_a_wrong_setting_is_named(pairs, message):
    with pytest.raises(ConfigError, match=message):
        parse_view(pairs)


def test_a_view_without_moves_is_its_seed():
    assert not View(seed=5, psi=0.5, noise='none', class_text='2').moved
    assert not View(x=0.5, y=0.5, distance=0).moved
    assert not View(mix=4).moved
    assert parse_view([('sefa', '3:0'), ('styles', '')]) == View()
    for view in (View(x=0.1), View(y=-1), View(styles=(0,)), View(sefa=(Step(0, 1),)), View(pca=(Step(0, 1),))):
        assert view.moved
