"""YAML that every parser reads as the same values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganfoundry.export.yaml_text import quoted, to_yaml

yaml = pytest.importorskip('yaml')

TEXT = st.text(st.characters(exclude_categories=('Cs',)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4))
def test_values_return_from_yaml(values):
    assert yaml.safe_load(to_yaml(values)) == values


@pytest.mark.parametrize('value', [1e-5, 1.5e300, -2e-7, 3e16, 0.25, 5.0])
def test_floats_stay_floats(value):
    read = yaml.safe_load(to_yaml({'value': value}))['value']
    assert isinstance(read, float)
    assert math.isclose(read, value, rel_tol=1e-15)


@pytest.mark.parametrize('text', ['yes', 'null', '1.0', '- a', 'a: b', '#', '"', '\\', 'a\nb: c', '\u2028', '---', ''])
def test_texts_stay_texts(text):
    assert yaml.safe_load(to_yaml({'license': text, text: 'value'})) == {'license': text, text: 'value'}


def test_lone_surrogates_of_file_names_are_replaced():
    assert quoted('a\udcffb') == '"a?b"'
