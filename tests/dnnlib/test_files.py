"""Tests of files and JSON lines."""

import pytest

from dnnlib import files


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x'
    files.write_bytes(path, b'old')

    def write_half():
        with files.atomic_path(path) as tmp:
            tmp.write_bytes(b'half')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_cut_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / 'x.jsonl'
    files.append_line(path, '{"a": 1}')
    with path.open('ab') as file:
        file.write(b'{"a": 2')
    assert files.read_jsonl(path) == [{'a': 1}]
    assert files.read_jsonl(tmp_path / 'absent.jsonl') == []
