"""Check that two commits differ in prose alone: the same Python without docstrings, the same C++ without comments.

    python -m tests.support.same_code BASE HEAD

Prints every source file whose code differs, and exits with 1 if there is one. Files that are neither Python nor C++ are
listed but not compared.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import PurePosixPath

CPP = {'.cpp', '.h', '.cu', '.cuh'}
# A comment, or something in which a comment cannot begin: a raw string, a string, a character, a number such as 1'000.
CPP_TOKEN = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)|R"(?P<raw>[^(]*)\(.*?\)(?P=raw)"|"(?:\\.|[^"\\])*"|\d[\w'.]*|'(?:\\.|[^'\\])*'""",
    re.DOTALL,
)


def python_code(source: str) -> str:
    """Returns the syntax tree of a Python file as text, without docstrings and other bare strings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, 'body', None), list):
            node.body = [statement for statement in body if not is_bare_string(statement)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def is_bare_string(statement: ast.stmt) -> bool:
    """Whether a statement is only a string."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def cpp_code(source: str) -> str:
    """Returns a C++ file without comments, empty lines and indentation."""
    bare = CPP_TOKEN.sub(lambda match: ' ' if match['comment'] else match[0], source)
    return '\n'.join(words for line in bare.splitlines() if (words := ' '.join(line.split())))


def code_of(path: str, source: str) -> str | None:
    """Returns what must not differ in a file; None for a kind of file that is not compared."""
    suffix = PurePosixPath(path).suffix
    if suffix == '.py':
        return python_code(source)
    return cpp_code(source) if suffix in CPP else None


def git(*words: str) -> str:
    """Returns the output of a git command."""
    return subprocess.run(['git', *words], capture_output=True, text=True, check=True).stdout


def compare(base: str, head: str) -> tuple[list[str], list[str]]:
    """Returns the files whose code differs between two commits, and the changed files that are not compared."""
    different, other = [], []
    for line in git('diff', '--no-renames', '--name-status', base, head).splitlines():
        status, path = line.split('\t', 1)
        if PurePosixPath(path).suffix not in CPP | {'.py'}:
            other.append(path)
        elif status != 'M' or code_of(path, git('show', f'{base}:{path}')) != code_of(
            path, git('show', f'{head}:{path}')
        ):
            different.append(path)
    return different, other


def main(base: str, head: str) -> int:
    """Prints what differs between two commits. Returns the exit code."""
    different, other = compare(base, head)
    for path in other:
        print(f'not compared: {path}')
    for path in different:
        print(f'code differs: {path}')
    print(f'{len(different)} files differ in their code' if different else 'the code is the same')
    return 1 if different else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
