"""The check of a config's field."""

from __future__ import annotations

from dnnlib.errors import ConfigError


def require(ok: bool, name: str, value: object, expected: str) -> None:
    """Raises ConfigError: the field, its value, and what it should be."""
    if not ok:
        raise ConfigError(f'{name}={value}: {expected}')
