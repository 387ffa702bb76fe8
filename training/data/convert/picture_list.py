"""A list of pictures: one path per line, optionally with a label.

    .csv    path,label      .tsv    path<TAB>label      .txt    path, or path<TAB>label, or path<blanks>label

Paths are relative to the list's folder, and `~` is the home folder. They may lead out of the list's folder: a list is
the user's own pointer to files anywhere, and nothing is written there. Labels are class numbers, or names, which are
numbered in alphabetical order.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter

from dnnlib.errors import DataError
from dnnlib.paths import user_path
from training.data.convert.decode import SOURCE_EXTENSIONS
from training.data.convert.source import NamedPictures, SourceLabels
from training.data.labels import MAX_CLASSES
from training.data.names import is_too_long, normal_name, path_on_disk, summarize_names
from training.data.passed_over import PassedOver
from training.data.source import read_file

_LINE = re.compile(rf'(.*(?:{"|".join(map(re.escape, SOURCE_EXTENSIONS))}))(?:\s+(\S.*))?', re.IGNORECASE)
_SHOWN_CHARS = 120  # characters of a line that messages show
_MAX_DIGITS = 9  # digits of a class number; Python refuses to read numbers of thousands
_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?', re.IGNORECASE)


class ListSource(NamedPictures):
    """A PictureSource in the order of the lines."""

    def __init__(self, path: str) -> None:
        """Reads the list. Raises DataError when a line is malformed or a picture occurs twice."""
        self.path = path
        self.passed_over = PassedOver()  # every line is a picture or an error
        rows = _read_rows(path)
        self._names = [name.replace('\\', '/') for name, _ in rows]
        self._labels = [label for _, label in rows]
        twice = [name for name, count in Counter(map(normal_name, self._names)).items() if count > 1]
        if twice:
            raise DataError(f'{path}: lists pictures more than once ({len(twice)}): {summarize_names(twice)}')

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return self._names[index]

    def where(self, index: int) -> str:
        return os.path.join(os.path.dirname(self.path), user_path(self._names[index]))

    def read(self, index: int) -> bytes:
        folder, name = os.path.dirname(self.path), user_path(self._names[index])
        return read_file(path_on_disk(folder, name), self.where(index))

    def read_labels(self) -> SourceLabels | None:
        missing = [name for name, label in zip(self._names, self._labels, strict=True) if not label]
        if len(missing) == len(self._names):
            return None
        if missing:
            count = f'{len(missing)} of {len(self._names)}'
            raise DataError(f'{self.path}: pictures without a label ({count}): {summarize_names(missing)}')
        return _number(self._labels, self._names, self.path)

    def close(self) -> None:
        """Closes nothing: files are closed as soon as they are read."""


def _read_rows(path: str) -> list[tuple[str, str]]:
    """Returns path and label ('': none) of every line; empty lines, comments (#) and a header are ignored."""
    text = read_file(path, path)
    if b'\0' in text:
        raise DataError(f'{path}: cannot be read as a list (it holds a NUL); save it as UTF-8 text')
    # Bytes that are not UTF-8 may be those of names on the disk.
    file = io.StringIO(text.removeprefix(codecs.BOM_UTF8).decode('utf-8', 'surrogateescape'), newline='')
    try:
        if path.lower().endswith('.txt'):
            lines = [line.strip() for line in file]
            cells = [_split(line) for line in lines if line and not line.startswith('#')]
        else:
            reader = csv.reader(file, delimiter=',' if path.lower().endswith('.csv') else '\t')
            cells = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise DataError(f'{path}: cannot be read as a list ({error})') from error
    rows = [row for row in cells if any(row) and not row[0].startswith('#')]
    if rows and len(rows[0]) > 1 and not rows[0][0].lower().endswith(SOURCE_EXTENSIONS):
        rows = rows[1:]  # the header of a table
    wrong = [str(row[0]) for row in rows if len(row) > 2 or not row[0].lower().endswith(SOURCE_EXTENSIONS)]
    if wrong:
        expected = f'a path ending in {" ".join(SOURCE_EXTENSIONS)} and at most one label'
        raise DataError(f'{path}: lines that are not {expected} ({len(wrong)}): {_shortened(wrong)}')
    long = [row[0] for row in rows if any(map(is_too_long, row))]
    if long:
        raise DataError(f'{path}: lines whose path or label is too long ({len(long)}): {_shortened(long)}')
    return [(row[0], row[1] if len(row) > 1 else '') for row in rows]


def _shortened(lines: list[str]) -> str:
    """Returns the beginnings of lines, for messages."""
    return summarize_names(line if len(line) <= _SHOWN_CHARS else f'{line[:_SHOWN_CHARS]}...' for line in lines)


def _split(line: str) -> list[str]:
    """Splits a line of text into path and label at a tab, else after the path's extension. Paths may hold blanks."""
    if '\t' in line:
        return [cell.strip() for cell in line.split('\t')]
    match = None if is_too_long(line) else _LINE.fullmatch(line)
    return [match[1], match[2] or ''] if match else [line]


def _number(labels: list[str], names: list[str], where: str) -> SourceLabels:
    """Returns labels that are class numbers as numbers, and names numbered in alphabetical order.

    Args:
        labels: Text of the labels, [n].
        names: Paths of the pictures, [n].
        where: Name of the list in messages.

    Raises:
        DataError: A class number is too large, or a label is neither a class number nor a name.
    """
    if all(label.isdecimal() for label in labels):
        longest = max(labels, key=len)
        numbers = [int(label[-_MAX_DIGITS:]) for label in labels]
        if len(longest) > _MAX_DIGITS or max(numbers) >= MAX_CLASSES:
            largest = longest[:40] if len(longest) > _MAX_DIGITS else max(numbers)
            raise DataError(f'{where}: has the class number {largest}; {MAX_CLASSES - 1} is the largest')
        return SourceLabels(values=numbers)
    pairs = zip(names, labels, strict=True)
    wrong = [f'{name} ({label})' for name, label in pairs if _NUMBER.fullmatch(label)]
    if wrong:
        raise DataError(f'{where}: labels that are neither class numbers 0, 1, ... nor names: {summarize_names(wrong)}')
    classes = sorted(set(labels))
    number_of = {name: number for number, name in enumerate(classes)}
    return SourceLabels(values=[number_of[label] for label in labels], classes=classes)
