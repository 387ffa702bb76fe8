"""Files that grow: what was read is not read again, and what was replaced is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganfoundry.report import appended
from ganfoundry.report.appended import AppendedLines


def lines_of(source: AppendedLines) -> tuple[bool, list[bytes]]:
    """Reads a source to its end."""
    restarted, lines = source.read()
    return restarted, list(lines)


def append(path: Path, data: bytes) -> None:
    """Appends bytes to a file."""
    with path.open('ab') as file:
        file.write(data)


def test_only_new_lines_are_returned_and_a_part_waits_for_its_rest(tmp_path: Path):
    path = tmp_path / 'a.jsonl'
    source = AppendedLines(path)
    assert lines_of(source) == (False, [])
    path.write_bytes(b'{"a": 1}\n{"b"')
    assert lines_of(source) == (False, [b'{"a": 1}\n'])
    append(path, b': 2}\n{"c": 3}')
    assert lines_of(source) == (False, [b'{"b": 2}\n', b'{"c": 3}'])
    append(path, b'\n{"d": 4}\n')
    assert lines_of(source) == (False, [b'\n', b'{"d": 4}\n'])
    assert not source.changed()
    assert lines_of(source) == (False, [])


def test_only_the_appended_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'{"a": 1}\n' * 100_000)
    source = AppendedLines(path)
    assert len(lines_of(source)[1]) == 100_000
    append(path, b'{"b": 2}\n')
    read, open_regular = [], appended.open_regular

    def counted(place):
        file = open_regular(place)
        for name in ('read', 'readline'):
            original = getattr(file, name)
            setattr(file, name, lambda *args, original=original: read.append(data := original(*args)) or data)
        return file

    monkeypatch.setattr(appended, 'open_regular', counted)
    assert lines_of(source) == (False, [b'{"b": 2}\n'])
    assert sum(map(len, read)) <= appended.MARK_BYTES + len(b'{"b": 2}\n')


@pytest.mark.parametrize('way', ['shorter', 'other file', 'longer in place'])
def test_a_file_that_was_written_again_begins_anew(tmp_path: Path, way: str):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n')
    source = AppendedLines(path)
    lines_of(source)
    new = b'{"c": 3}\n' * {'shorter': 1, 'other file': 2, 'longer in place': 9}[way]
    if way == 'other file':
        (tmp_path / 'b').write_bytes(new)
        os.replace(tmp_path / 'b', path)
    else:
        path.write_bytes(new)
    restarted, lines = lines_of(source)
    assert restarted
    assert b''.join(lines) == new


def test_a_file_that_vanishes_or_is_no_file_has_no_lines(tmp_path: Path):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'{"a": 1}\n')
    source = AppendedLines(path)
    lines_of(source)
    path.unlink()
    assert lines_of(source) == (True, [])
    path.mkdir()
    assert lines_of(source) == (False, [])


def test_a_line_without_an_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(appended, 'MAX_LINE_BYTES', 16)
    path = tmp_path / 'a.jsonl'
    path.write_bytes(b'x' * 40 + b'\n{"a": 1}\n')
    assert lines_of(AppendedLines(path))[1][-1] == b'{"a": 1}\n'
