"""Typed configs: what text becomes, what is refused, and that a record rebuilds the config."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from dnnlib.config import fields_of, flatten, from_dict, set_fields, to_dict
from dnnlib.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    rate: float = 0.5
    kind: Literal['a', 'b'] = 'a'

    def __post_init__(self):
        if self.rate < 0:
            raise ConfigError(f'rate={self.rate}: must be non-negative')


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    size: int = 1
    limit: float | None = None
    flag: bool = False
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ('path', 'text', 'value'),
    [
        ('size', '12', 12),
        ('inner.rate', '1e-3', 1e-3),
        ('inner.rate', 2, 2.0),
        ('inner.kind', 'b', 'b'),
        ('limit', '3', 3.0),
        ('limit', 'none', None),
        ('flag', '1', True),
        ('flag', 'False', False),
        ('names', 'x,y', ('x', 'y')),
        ('names', '', ()),
    ],
)
def test_text_becomes_the_type_of_the_field(path, text, value):
    changed = flatten(set_fields(Outer(), {path: text}))
    assert changed[path] == value
    assert type(changed[path]) is type(value)


@pytest.mark.parametrize(
    ('path', 'text', 'message'),
    [
        ('size', '1.5', 'size=1.5: expected a whole number'),
        ('size', 'none', 'size=none: expected a whole number'),
        ('size', True, 'expected a whole number'),
        ('inner.rate', 'fast', 'inner.rate=fast: expected a number'),
        ('inner.rate', 'nan', 'expected a finite number'),
        ('inner.kind', 'c', 'inner.kind=c: choose one of a, b'),
        ('flag', 'maybe', 'flag=maybe: expected true or false'),
        ('inner.rat', '1', "'inner.rat' is not a config field; did you mean 'rate'?"),
        ('siz', '1', "'siz' is not a config field; did you mean 'size'?"),
        ('inner', '1', "'inner' has fields, change one of them: rate, kind"),
        ('size.x', '1', "'size' is a single value"),
        ('inner.rate', '-1', 'must be non-negative'),
    ],
)
def test_what_cannot_work_is_refused_by_name(path, text, message):
    with pytest.raises(ConfigError) as error:
        set_fields(Outer(), {path: text})
    assert message in str(error.value)


def test_a_record_rebuilds_the_config():
    cfg = set_fields(Outer(), {'inner.rate': '0.1', 'names': 'p,q', 'limit': '7', 'flag': 'yes'})
    assert from_dict(Outer, to_dict(cfg)) == cfg
    with pytest.raises(ConfigError, match="no field 'sise'; did you mean 'size'"):
        from_dict(Outer, {'sise': 1})


def test_several_fields_change_at_once():
    assert set_fields(Outer(), {'inner.rate': 1, 'inner.kind': 'b', 'size': 3}) == Outer(
        inner=Inner(rate=1.0, kind='b'), size=3
    )
    assert fields_of(Outer()) == ['inner', 'size', 'limit', 'flag', 'names']
