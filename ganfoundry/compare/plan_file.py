"""Plan files: a comparison in TOML.

    data = "ffhq64.zip"
    kimg = 1000
    seeds = [0, 1, 2]                                  # or "0-2"
    metrics = ["fd_efflite10k", "kid_efflite10k"]      # the first one decides
    images = 10000                                     # most images that a metric generates
    budget = "kimg"                                    # or "hours" with hours = 2.5, or "macs"
    halving = "noise"                                  # or "strict"

    [rows.squeeze]
    set = {"generator.ratio" = 4}
    paper = {metric = "fid50k_full", value = 4.9, source = "Table 2, FFHQ at 256x256"}

    [rows.narrow]
    cfg = "squeeze"
    flags = ["--cbase=8192"]

The names are those of the options, with `_` in place of `-`. Options of the command line replace those of the file.
A plan can run programs: its `plugin` names Python code, which runs when the plan is read, and its `launcher` a command.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from dnnlib.registry import load_file, suggest
from dnnlib.regular_file import open_regular
from ganfoundry.compare.plan import BUDGETS, HALVINGS
from ganfoundry.compare.rows import PaperNumber, Row, checked_rows

MAX_BYTES = 1 << 20
# Name in the file -> type of its value, and name of the option in `CompareOptions`.
KEYS: dict[str, tuple[type | tuple[type, ...], str]] = {
    'data': (str, 'data'),
    'resolution': (int, 'resolution'),
    'cond': (bool, 'cond'),
    'kimg': (int, 'kimg'),
    'batch': (int, 'batch'),
    'seeds': ((str, list), 'seeds'),
    'budget': (str, 'budget'),
    'hours': ((int, float), 'hours'),
    'halving': (str, 'halving'),
    'metrics': ((str, list), 'metric'),
    'images': (int, 'images'),
    'measurements': (int, 'measurements'),
    'set': ((list, dict), 'sets'),
    'flags': (list, 'flags'),
    'small': (bool, 'small'),
    'out': (str, 'out'),
    'jobs': (int, 'jobs'),
    'threads': (int, 'threads'),
    'launcher': (str, 'launcher'),
    'plugin': ((str, list), 'plugin'),
    'precision': (str, 'precision'),
    'device': (str, 'device'),
}
ROW_KEYS: dict[str, type | tuple[type, ...]] = {'cfg': str, 'set': (list, dict), 'flags': list, 'paper': (dict, list)}
CHOICES = {'budget': BUDGETS, 'halving': HALVINGS}
LEAST = {'kimg': 1, 'batch': 1, 'images': 2, 'measurements': 3, 'jobs': 1, 'threads': 1}
WORDS = {
    str: 'a text',
    int: 'a whole number',
    bool: 'true or false',
    list: 'a list',
    dict: 'a table',
    float: 'a number',
}


def read_plan_file(path: Path) -> tuple[dict[str, Any], tuple[Row, ...]]:
    """Returns the options of a plan file by their names in `CompareOptions`, and its rows.

    Loads the plug-ins that the file names, since its rows may need them.

    Raises:
        ConfigError: If the file cannot be read, or has an unknown or wrong entry; names the entry.
    """
    where = f'--plan={path}'
    content = read_toml(path, where)
    tables = content.pop('rows', {})
    options: dict[str, Any] = {}
    for key, value in content.items():
        if key not in KEYS:
            raise ConfigError(f"{where}: unknown entry '{key}': {suggest(key, [*KEYS, 'rows'])}")
        kind, name = KEYS[key]
        check_kind(value, kind, f'{where}: {key}')
        if key in CHOICES and value not in CHOICES[key]:
            raise ConfigError(f"{where}: {key}='{value}': expected {' or '.join(CHOICES[key])}")
        if not isinstance(value, list | dict | str | bool) and value < LEAST.get(key, 0):
            raise ConfigError(f'{where}: {key}={value}: must be at least {LEAST.get(key, 0)}')
        options[name] = option_value(key, value, f'{where}: {key}')
    for plugin in options.get('plugin', ()):
        load_file(plugin)
    check_kind(tables, dict, f'{where}: rows')
    rows = [read_row(label, table, f'{where}: rows.{label}') for label, table in tables.items()]
    return options, checked_rows(rows, where)


def plan_text(content: Mapping[str, Any]) -> str:
    """Returns a plan file, from which `tomllib` reads the same content.

    Args:
        content: Entries by name: texts, numbers, booleans, lists and tables of these. `rows` has a table per label.

    Raises:
        ConfigError: If a text holds bytes of a file's name that are not UTF-8.
    """
    lines = [f'{_key(name)} = {_toml(value)}' for name, value in content.items() if name != 'rows']
    for label, entries in content.get('rows', {}).items():
        lines += ['', f'[rows.{_key(label)}]', *(f'{_key(name)} = {_toml(value)}' for name, value in entries.items())]
    return '\n'.join(lines) + '\n'


def _toml(value: Any) -> str:
    """Returns a value in TOML, on one line."""
    if isinstance(value, Mapping):
        return '{' + ', '.join(f'{_key(name)} = {_toml(inner)}' for name, inner in value.items()) + '}'
    if isinstance(value, list | tuple):
        return '[' + ', '.join(map(_toml, value)) + ']'
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int | float):
        return str(value)
    assert isinstance(value, str), value
    return _quoted(value)


def _key(name: str) -> str:
    return name if re.fullmatch('[A-Za-z0-9_-]+', name) else _quoted(name)


def _quoted(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f'{text!r} cannot be part of a plan file, which is UTF-8') from None
    # TOML escapes as JSON does, except that DEL needs an escape and that characters above U+FFFF must not become two.
    return json.dumps(text, ensure_ascii=False).replace('\x7f', '\\u007f')


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """Returns the content of a TOML file. where: option for messages."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f'{where}: cannot be read ({error.strerror or error})') from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f'{where}: has more than {MAX_BYTES >> 20} MB; it is no plan')
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f'{where}: is not TOML ({error})') from None


def read_row(label: str, table: Any, where: str) -> Row:
    """Returns one row.

    Args:
        label: Its name.
        table: Its table.
        where: Place in the file, for messages.
    """
    check_kind(table, dict, where)
    for key, value in table.items():
        if key not in ROW_KEYS:
            raise ConfigError(f"{where}: unknown entry '{key}': {suggest(key, [*ROW_KEYS])}")
        check_kind(value, ROW_KEYS[key], f'{where}.{key}')
    flags = option_value('flags', table.get('flags', []), f'{where}.flags')
    if bad := [flag for flag in flags if not flag.startswith('--')]:
        raise ConfigError(f"{where}.flags: '{bad[0]}': expected --NAME=VALUE, a flag of train.py")
    settings = option_value('set', table.get('set', []), f'{where}.set')
    numbers = table.get('paper', [])
    numbers = numbers if isinstance(numbers, list) else [numbers]
    return Row(
        label=label,
        cfg=table.get('cfg', label),
        flags=(*flags, *(f'--set={item}' for item in settings)),
        paper=tuple(read_number(number, f'{where}.paper') for number in numbers),
    )


def read_number(table: Any, where: str) -> PaperNumber:
    """Returns a number of a paper. where: place in the file, for messages."""
    if not isinstance(table, dict) or table.keys() != {'metric', 'value', 'source'}:
        raise ConfigError(f'{where}: expected {{metric = "fid50k_full", value = 4.9, source = "Table 2"}}')
    for key, kind in (('metric', str), ('value', (int, float)), ('source', str)):
        check_kind(table[key], kind, f'{where}.{key}')
    return PaperNumber(metric=table['metric'], value=float(table['value']), source=table['source'])


def option_value(key: str, value: Any, where: str) -> Any:
    """Returns an entry as the option of the command line has it: lists as texts with commas, or as tuples.

    Args:
        key: Name of the entry.
        value: Its value.
        where: Place in the file, for messages.
    """
    if key == 'set' and isinstance(value, Mapping):
        return tuple(f'{path}={setting(inner, where)}' for path, inner in value.items())
    items = value if isinstance(value, list) else [value]
    kind = int if key == 'seeds' and isinstance(value, list) else str
    if key in ('set', 'flags', 'plugin', 'seeds', 'metrics'):
        for item in items:
            check_kind(item, kind, where)
    if key in ('set', 'flags', 'plugin'):
        return tuple(items)
    return ','.join(map(str, items)) if key in ('seeds', 'metrics') else value


def setting(value: Any, where: str) -> str:
    """Returns a value of a config field as --set takes it."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, list):
        return ','.join(setting(item, where) for item in value)
    check_kind(value, (str, int, float), where)
    return str(value)


def check_kind(value: Any, kind: type | tuple[type, ...], where: str) -> None:
    """Raises ConfigError unless a value has one of the types; true is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = ' or '.join(WORDS[one] for one in kinds)
        raise ConfigError(f'{where}: expected {expected}, not {value!r}')
