"""Typed configs: frozen dataclasses that nest, are changed by dotted paths, and are stored as JSON.

The annotations are the types: `set_fields(cfg, {'r1.gamma': '2'})` parses '2' as the declared type of `gamma`.
Supported are int, float, bool, str, Literal, X | None, tuple[X, ...] and nested dataclasses.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from dnnlib.errors import ConfigError
from dnnlib.registry import did_you_mean, suggest

C = TypeVar('C')

_TRUE = {'1', 'true', 'yes', 'on'}
_FALSE = {'0', 'false', 'no', 'off'}


def require(ok: bool, name: str, value: object, expected: str) -> None:
    """Checks a field in a config's `__post_init__`.

    Args:
        ok: Whether the value can work.
        name: Name of the field as the user writes it, such as 'r1.gamma'.
        value: Value of the field, for the message.
        expected: The values that can work, and the way out.

    Raises:
        ConfigError: If not `ok`. The message names the field, the value and what is expected.
    """
    if not ok:
        raise ConfigError(f'{name}={value}: {expected}')


def set_fields(cfg: C, changes: Mapping[str, Any], prefix: str = '') -> C:
    """Returns a copy of a config in which several fields are changed at once; only the result must be consistent.

    Args:
        cfg: The config, a dataclass.
        changes: New value by path, which is field names joined by dots. A str is parsed by the field's type, any other
            value is checked against it.
        prefix: Path of `cfg` itself with a dot at its end, for messages.

    Returns:
        The changed copy.

    Raises:
        ConfigError: If a field is unknown or a value does not fit. The message names the field, the value and, for an
            unknown field, the nearest one.
    """
    by_head: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        head, _, rest = path.partition('.')
        by_head.setdefault(head, {})[rest] = value
    changed = {head: _changed(cfg, prefix, head, inner) for head, inner in by_head.items()}
    return dataclasses.replace(cfg, **changed)  # type: ignore[type-var]


def _changed(cfg: Any, prefix: str, head: str, inner: dict[str, Any]) -> Any:
    """Returns the new value of one field.

    Args:
        cfg: The config that has the field.
        prefix: Path of `cfg`, for messages.
        head: Name of the field.
        inner: The field's new value under the key '', or new values of its own fields by their paths.
    """
    hints = typing.get_type_hints(type(cfg))
    if head not in hints:
        raise ConfigError(f"'{prefix}{head}' is not a config field; {suggest(head, hints)}")
    old = getattr(cfg, head)
    if dataclasses.is_dataclass(old):
        if '' in inner:
            raise ConfigError(f"'{prefix}{head}' has fields, change one of them: {', '.join(fields_of(old))}")
        return set_fields(old, inner, f'{prefix}{head}.')
    if set(inner) != {''}:
        raise ConfigError(f"'{prefix}{head}' is a single value, it has no field '{next(filter(None, inner))}'")
    return parse(hints[head], inner[''], prefix + head)


def fields_of(cfg: Any) -> list[str]:
    """Returns the names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(cfg)]


def parse(kind: Any, value: Any, where: str) -> Any:
    """Parses a value by its annotated type.

    Args:
        kind: The annotation.
        value: Text from a command line, or a value from JSON.
        where: Path of the field, for messages.

    Returns:
        The value as that type.

    Raises:
        ConfigError: If the value does not fit; the message names `where`.
    """
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _parse_union(typing.get_args(kind), value, where)
    if origin is Literal:
        return _parse_choice(typing.get_args(kind), value, where)
    if origin is tuple:
        if not isinstance(value, (str, list, tuple)):
            raise ConfigError(f'{where}={value}: expected a list')
        items = [item.strip() for item in value.split(',') if item.strip()] if isinstance(value, str) else list(value)
        return tuple(parse(typing.get_args(kind)[0], item, where) for item in items)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where)
    if kind is Any or origin is Mapping:
        return value
    return _parse_scalar(kind, value, where)


def _parse_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None or (isinstance(value, str) and value.lower() == 'none' and type(None) in kinds):
        if type(None) not in kinds:
            raise ConfigError(f'{where}: a value is needed')
        return None
    return parse(next(kind for kind in kinds if kind is not type(None)), value, where)


def _parse_choice(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    for choice in choices:
        if value == choice or str(value) == str(choice):
            return choice
    names = [str(choice) for choice in choices]
    raise ConfigError(f'{where}={value}: {did_you_mean(str(value), names)}choose one of {", ".join(names)}')


def _parse_scalar(kind: type, value: Any, where: str) -> Any:
    names = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text'}
    try:
        if kind is bool:
            text = str(value).lower()
            if text not in _TRUE | _FALSE:
                raise ValueError
            return text in _TRUE
        if kind is str and not isinstance(value, str):
            raise ValueError
        if kind in (int, float) and isinstance(value, bool):
            raise ValueError
        if kind is int and isinstance(value, float):
            raise ValueError
        parsed = kind(value)
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(f'{where}={value}: expected {names[kind]}') from None
    if kind is float and not math.isfinite(parsed):
        raise ConfigError(f'{where}={value}: expected a finite number')
    return parsed


def to_dict(cfg: Any) -> Any:
    """Returns a config as nested dicts and lists, ready for `json.dumps`."""
    if dataclasses.is_dataclass(cfg) and not isinstance(cfg, type):
        return {name: to_dict(getattr(cfg, name)) for name in fields_of(cfg)}
    if isinstance(cfg, (tuple, list)):
        return [to_dict(item) for item in cfg]
    return cfg


def from_dict(cls: type[C], data: dict[str, Any], where: str = 'config') -> C:
    """Builds a config from the nested dicts of `to_dict`; absent fields take their defaults.

    Args:
        cls: The dataclass.
        data: Values by field name.
        where: Path of the config, for messages.

    Returns:
        The config.

    Raises:
        ConfigError: If a field is unknown or a value has the wrong type.
    """
    if not isinstance(data, dict):
        raise ConfigError(f'{where}: expected fields of {cls.__name__}, got {data!r}')
    hints = typing.get_type_hints(cls)
    for name in data:
        if name not in hints:
            raise ConfigError(f"{where}: {cls.__name__} has no field '{name}'; {suggest(name, hints)}")
    try:
        return cls(**{name: parse(hints[name], value, f'{where}.{name}') for name, value in data.items()})
    except TypeError as error:
        raise ConfigError(f'{where}: {error}') from None


def flatten(cfg: Any, prefix: str = '') -> dict[str, Any]:
    """Returns every leaf of a config by its dotted path."""
    leaves: dict[str, Any] = {}
    for name in fields_of(cfg):
        value = getattr(cfg, name)
        if dataclasses.is_dataclass(value):
            leaves |= flatten(value, f'{prefix}{name}.')
        else:
            leaves[prefix + name] = value
    return leaves


def choices_of(cls: type, name: str) -> tuple[Any, ...]:
    """Returns the values that a Literal field may take; empty for other types."""
    kind = typing.get_type_hints(cls)[name]
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
