"""`make report` finds what is planted, and `same_code` knows prose from code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import prose, report
from tests.support.same_code import compare, cpp_code, python_code


def rules(source: str) -> list[str]:
    """Returns the rules that a Python source breaks."""
    return [finding.rule for finding in prose.in_python('a.py', source)]


@pytest.mark.parametrize(
    ('source', 'rule'),
    [
        ('def f():\n    """What it is."""', '1 docstring begins with What, Where, That, Of, As'),
        ('def f():\n    """The number."""', '1 docstring does not begin with a verb'),
        ('class A:\n    """Of a run."""', '1 docstring begins with What, Where, That, Of, As'),
        ('x = 1  # writes a line a tick', '2 a rate without "per"'),
        ('x = 1  # of the batch', '3 comment begins with a preposition'),
        ('x = 1  # the caller is told', '4 is told, tells'),
        ('x = 1  # it stands in the record', '4 stands'),
        ('x = 1  # nothing but zeros', '4 "but" as except'),
        ('x = 1  # kept, for it is slow', '4 "for" as because'),
        ('def f(a, b, c):\n    """Returns all."""', '5 no Args: for three or more arguments'),
        ("x = 'text' * (n > 1)", '6 text * condition'),
    ],
)
def test_a_planted_violation_of_a_rule_of_prose_is_found(source: str, rule: str):
    assert rules(source) == [rule]


@pytest.mark.parametrize(
    'source',
    [
        'def f(a, b, c):\n    """Returns all.\n\n    Args:\n        a: One.\n    """',
        'class A:\n    """A run."""\n\n    @property\n    def b(self):\n        """The folder."""',
        'def f():\n    """Whether it is open."""',
        "x = '-' * 10  # a line per tick\n# the standard width\n# of a page",
    ],
)
def test_good_prose_is_not_reported(source: str):
    assert rules(source) == []


def repository(path: Path, *commits: dict[str, str]) -> None:
    """Makes a git repository with one commit per dict of files."""
    git = ['git', '-C', str(path), '-c', 'user.name=a', '-c', 'user.email=a@b']
    subprocess.run([*git, 'init', '-q', '-b', 'main'], check=True)
    for files in commits:
        for name, text in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
        subprocess.run([*git, 'add', '-A'], check=True)
        subprocess.run([*git, 'commit', '-q', '-m', 'a'], check=True)


@pytest.mark.slow
def test_sizes_names_and_mirrors_are_reported(tmp_path: Path):
    long = 'def long():\n' + '    x = 1\n' * 60 + f'def wide({", ".join(f"a{i}" for i in range(13))}): pass\n'
    repository(
        tmp_path,
        {
            'dnnlib/a.py': long + 'x = 1\n' * 300,
            'dnnlib/b.py': 'def wide(): pass\n',
            'dnnlib/__init__.py': '',
            'tests/dnnlib/test_b.py': '',
            'train.py': 'x = 1\n' * 20,
        },
    )
    sources = report.Sources(tmp_path)
    assert list(report.sizes(sources)) == [
        'dnnlib/a.py: 362 lines',
        'dnnlib/a.py:1: long has 61 lines',
        'dnnlib/a.py:62: wide takes 13 arguments',
        'train.py: 20 lines in a launcher',
    ]
    assert list(report.names_defined_twice(sources)) == ['wide: dnnlib/a.py:62, dnnlib/b.py:1']
    assert list(report.without_test(sources)) == ['dnnlib/a.py (tests/dnnlib/test_a.py)']


def test_durations_are_read_from_both_forms(tmp_path: Path):
    (tmp_path / 'a.txt').write_text('1.50s call     tests/test_a.py::test_b\n2.00s setup    tests/test_a.py::test_c\n')
    (tmp_path / 'a.xml').write_text(
        '<testsuites><testcase classname="tests.test_a" name="test_b" time="3"/></testsuites>'
    )
    assert report.durations(tmp_path / 'a.txt') == [(2.0, 'tests/test_a.py::test_c'), (1.5, 'tests/test_a.py::test_b')]
    assert report.durations(tmp_path / 'a.xml') == [(3.0, 'tests.test_a::test_b')]


@pytest.mark.parametrize(
    ('after', 'same'),
    [
        ('"""B."""\ndef f():\n    """Returns one."""  # reason\n    return 1\n', True),
        ('"""A."""\ndef f():\n    """Gives one."""\n    return 2\n', False),
        ('"""A."""\ndef f():\n    x = "Gives one."\n    return 1\n', False),
    ],
)
def test_python_is_compared_without_docstrings(after: str, same: bool):
    before = '"""A."""\ndef f():\n    """Gives one."""\n    return 1\n'
    assert (python_code(before) == python_code(after)) == same


@pytest.mark.parametrize(
    ('before', 'after', 'same'),
    [
        ('int a;  // one\n\nint b;', 'int a;\n/* two\n lines */ int b;', True),
        ('f("// no comment");', 'f("");', False),
        ("c = '\"';  // a", "c = '\"';  // b", True),
        ("n = 1'000;  // it's\nm = 2;", "n = 1'000;\nm = 2;", True),
        ("n = 1'000;", "n = 1'001;", False),
        ('s = R"(// kept)";', 's = R"()";', False),
    ],
)
def test_cpp_is_compared_without_comments(before: str, after: str, same: bool):
    assert (cpp_code(before) == cpp_code(after)) == same


@pytest.mark.slow
def test_two_commits_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = {'a.py': 'x = 1\n', 'b.cpp': 'int a;\n', 'c.md': 'A\n', 'd.py': 'x = 1\n'}
    after = {'a.py': 'x = 1  # reason\n', 'b.cpp': 'int b;\n', 'c.md': 'B\n', 'd.py': 'x = 2\n', 'e.py': ''}
    repository(tmp_path, before, after)
    monkeypatch.chdir(tmp_path)
    assert compare('HEAD~1', 'HEAD') == (['b.cpp', 'd.py', 'e.py'], ['c.md'])
