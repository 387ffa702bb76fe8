"""Records in JSON, as people, disks and other programs leave them: read within limits, and checked field by field.

Every failure is a `RecordError` that names the file, the line and the field. Snapshots, config.json, the lines of
results, manifests and caches are all read here.

    record = read_record(folder / 'best.json')
    nimg = record.whole('nimg')
    name = record.text('snapshot')
"""

from __future__ import annotations

import errno
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dnnlib.errors import FileError, RecordError
from dnnlib.printable import printable
from dnnlib.regular_file import open_regular, read_regular

MAX_WHOLE = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of one record. A value of JSON takes some 100 bytes of memory, so `entries` bounds the memory.

    Attributes:
        file_bytes: size of the record; of a file of lines, the size of one line.
        entries: values, counted from above by commas and opening brackets, also those in texts.
        depth: objects and lists within each other.
        text_chars: length of a text.
        key_chars: length of a key.
        number_chars: length of a number as written.
        finite: whether NaN, infinity and numbers beyond float64 are refused.
    """

    file_bytes: int = 16 << 20
    entries: int = 1_000_000
    depth: int = 32
    text_chars: int = 1 << 20
    key_chars: int = 1024
    number_chars: int = 64
    finite: bool = True


DEFAULT = Limits()
RESULTS = Limits(finite=False)  # a loss may be NaN, and its line says so


class Record:
    """A JSON object with typed access to its fields.

    Args:
        values: The object.
        where: The file, its line, and the path of the object in it, for messages.
    """

    __slots__ = ('values', 'where')

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        """Returns whether the object has a field."""
        return key in self.values

    def value(self, key: str) -> Any:
        """Returns a field of any type."""
        if key not in self.values:
            raise RecordError(f'{self.where}: has no "{key}"')
        return self.values[key]

    def text(self, key: str) -> str:
        """Returns a text."""
        value = self.value(key)
        return value if isinstance(value, str) else self.refuse(key, 'a text')

    def flag(self, key: str) -> bool:
        """Returns true or false."""
        value = self.value(key)
        return value if isinstance(value, bool) else self.refuse(key, 'true or false')

    def whole(self, key: str, low: int = 0, high: int = MAX_WHOLE) -> int:
        """Returns a whole number from `low` to `high`."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            limits = f'from {low}' + ('' if high == MAX_WHOLE else f' to {high}')
            return self.refuse(key, f'a whole number {limits}')
        return value

    def number(self, key: str, *, finite: bool = True) -> float:
        """Returns a number, which must be finite unless the caller handles others."""
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self.refuse(key, 'a number')
        if finite and not math.isfinite(value):
            return self.refuse(key, 'a finite number')
        return float(value)

    def record(self, key: str) -> Record:
        """Returns an object."""
        return self._as_record(self.value(key), key)

    def records(self, key: str) -> list[Record]:
        """Returns a list of objects."""
        return [self._as_record(item, f'{key}[{i}]') for i, item in enumerate(self.items(key))]

    def texts(self, key: str) -> list[str]:
        """Returns a list of texts."""
        items = self.items(key)
        return items if all(isinstance(item, str) for item in items) else self.refuse(key, 'a list of texts')

    def items(self, key: str) -> list[Any]:
        """Returns a list of any values."""
        value = self.value(key)
        return value if isinstance(value, list) else self.refuse(key, 'a list')

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raises RecordError for the value of a field."""
        raise RecordError(f'{self.where}: "{printable(key)}" is {_shown(self.values.get(key))}; expected {expected}')

    def _as_record(self, value: Any, key: str) -> Record:
        if not isinstance(value, dict):
            raise RecordError(f'{self.where}: "{printable(key)}" is {_shown(value)}; expected an object {{...}}')
        return Record(value, f'{self.where}: "{printable(key)}"')


def read_record(path: Path, limits: Limits = DEFAULT) -> Record:
    """Returns the JSON object that a file holds. Raises RecordError if there is none, or no such file."""
    try:
        data = read_regular(path, limits.file_bytes)
    except FileError as error:
        raise RecordError(str(error)) from None
    return parse_record(data, printable(str(path)), limits)


def read_records(
    path: Path, limits: Limits = RESULTS, damaged: Callable[[RecordError], None] | None = None
) -> Iterator[Record]:
    """Yields the objects of a file of JSON lines, in their order; none if the file is absent. Holds one at a time.

    A last line without a line break that is no object was cut by a kill, and is passed over. Empty lines are, too.

    Args:
        path: The file.
        limits: Limits of each line.
        damaged: Receives the error of a damaged line, which is then passed over; None: the error is raised.

    Raises:
        RecordError: If the file cannot be read, or for a damaged line.
    """
    try:
        with open_regular(path) as file:
            yield from _lines(file, printable(str(path)), limits, damaged or _raise)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        reason = str(error) if isinstance(error, FileError) else f'{path}: cannot be read ({error.strerror or error})'
        raise RecordError(reason) from None


def _lines(
    file: io.BufferedReader, shown: str, limits: Limits, damaged: Callable[[RecordError], None]
) -> Iterator[Record]:
    number = 0
    while line := file.readline(limits.file_bytes + 1):
        number += 1
        where = f'{shown}, line {number}'
        ended, too_long = line.endswith(b'\n'), len(line) > limits.file_bytes
        while too_long and not ended and (rest := file.readline(1 << 20)):
            ended = rest.endswith(b'\n')
        if not line.strip():
            continue
        try:
            if too_long:
                raise RecordError(f'{where}: longer than {limits.file_bytes} bytes')
            record = parse_record(line, where, limits, number=number)
        except RecordError as error:
            if ended or too_long:
                damaged(error)
            continue
        yield record


def _raise(error: RecordError) -> NoReturn:
    raise error


def parse_record(data: bytes | str, where: str, limits: Limits = DEFAULT, *, number: int | None = None) -> Record:
    """Returns the JSON object of a text.

    Args:
        data: The text; bytes are UTF-8.
        where: Name of the file, for messages.
        limits: Limits of the record.
        number: Number of the line that `where` names already; None: the line of an error is added to `where`.

    Raises:
        RecordError: If the text is not one JSON object within the limits.
    """
    value = parse_json(data, where, limits, number=number)
    if not isinstance(value, dict):
        raise RecordError(f'{where}: is {_shown(value)}; expected an object {{...}}')
    return Record(value, where)


def parse_json(data: bytes | str, where: str, limits: Limits = DEFAULT, *, number: int | None = None) -> Any:
    """Returns the value of a JSON text, with the arguments and errors of `parse_record`."""
    if len(data) > limits.file_bytes:
        raise RecordError(f'{where}: larger than {limits.file_bytes} bytes')
    if isinstance(data, str):
        data = data.encode('utf-8', 'surrogatepass')
    if sum(map(data.count, (b',', b'[', b'{'))) > limits.entries:
        raise RecordError(f'{where}: more than {limits.entries} values')
    try:
        value = json.loads(
            data.decode('utf-8-sig'),
            parse_int=lambda text: int(_within(text, limits)),
            parse_float=lambda text: _float(text, limits),
            parse_constant=lambda text: _float(text, limits),
            object_pairs_hook=_without_doubles,
        )
    except json.JSONDecodeError as error:
        line = '' if number is not None else f', line {error.lineno}'
        raise RecordError(f'{where}{line}: not JSON, {error.msg} (column {error.colno})') from None
    except UnicodeDecodeError as error:
        line = '' if number is not None else f', line {data.count(10, 0, error.start) + 1}'
        raise RecordError(f'{where}{line}: not UTF-8') from None
    except RecursionError:
        raise RecordError(f'{where}: nested deeper than {limits.depth}') from None
    except _Fault as error:
        raise RecordError(f'{where}: {error}') from None
    _check_nesting(value, where, limits)
    return value


class _Fault(Exception):
    """A value within JSON that is refused; not a ValueError, which is JSON's own."""


def _within(text: str, limits: Limits) -> str:
    if len(text) > limits.number_chars:
        raise _Fault(f'a number of {len(text)} digits, more than {limits.number_chars}')
    return text


def _float(text: str, limits: Limits) -> float:
    value = float(_within(text, limits))
    if limits.finite and not math.isfinite(value):
        raise _Fault(f'{text}, which is not a finite number')
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _Fault(f'"{printable(twice[:100])}" is given twice')
    return made


def _check_nesting(value: Any, where: str, limits: Limits) -> None:
    """Raises RecordError for containers that are nested too deep, and for keys and texts that are too long."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if type(item) is str and len(item) > limits.text_chars:
                raise RecordError(f'{where}: a text of {len(item)} characters, more than {limits.text_chars}')
            if type(item) is dict:
                for key in item:
                    if len(key) > limits.key_chars:
                        raise RecordError(f'{where}: a key of {len(key)} characters, more than {limits.key_chars}')
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
        if depth >= limits.depth and any(type(item) in (dict, list) for item in level):
            raise RecordError(f'{where}: nested deeper than {limits.depth}')
        level, depth = below, depth + 1


def _shown(value: Any) -> str:
    """Returns a value in words, shortened."""
    if value is None or isinstance(value, bool):
        return {None: 'null', True: 'true', False: 'false'}[value]
    if isinstance(value, (dict, list)):
        return 'an object {...}' if isinstance(value, dict) else 'a list [...]'
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else f'{text[:57]}...'
