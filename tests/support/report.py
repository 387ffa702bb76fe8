"""Print how close the sources are to the aims of STYLE.md: sizes, prose, names, mirrored tests, durations.

    python -m tests.support.report [--root=CHECKOUT] [--durations=FILE] [--summary]

`make report` runs it. No test fails because of an aim: good code that misses one is better than worse code that meets
it. `--durations` takes the output of `pytest --durations=N`, or its `--junit-xml` file.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from tests.support import prose

HOUSE = ('dnnlib', 'torch_utils', 'training', 'metrics', 'extensions', 'ganfoundry')
MODULES, TEST_MODULES = 20, 30  # per folder
LINES, FUNCTION_LINES, ARGUMENTS = 300, 60, 12
COMMAND_LINES, LAUNCHER_LINES = range(60, 201), 12
FAST_S, WHOLE_S = 180, 900
SLOWEST = 10


class Sources:
    """The tracked files of a checkout."""

    def __init__(self, root: Path) -> None:
        names = subprocess.run(['git', 'ls-files'], cwd=root, capture_output=True, text=True, check=True).stdout
        self.root = root
        self.paths = [PurePosixPath(name) for name in names.splitlines() if (root / name).is_file()]
        self.python = [path for path in self.paths if path.suffix == '.py']
        self.modules = [path for path in self.python if path.name != '__init__.py']

    def read(self, path: PurePosixPath) -> str:
        """Returns the text of a file."""
        return (self.root / path).read_text()

    def house(self) -> list[PurePosixPath]:
        """Returns the modules of the packages and of the root, without tests, benchmarks and pages."""
        return [path for path in self.modules if path.parts[0] in HOUSE or len(path.parts) == 1]


def sizes(sources: Sources) -> Iterator[str]:
    """Yields what is larger than aim 7 says."""
    for folder, count in Counter(path.parent for path in sources.modules).most_common():
        if count > (TEST_MODULES if folder.parts[:1] == ('tests',) else MODULES):
            yield f'{folder or "."}: {count} modules'
    for path in sources.python:
        text = sources.read(path)
        lines = text.count('\n')
        if path.parent == PurePosixPath('ganfoundry/commands') and path.name != '__init__.py':
            if lines not in COMMAND_LINES:
                yield f'{path}: {lines} lines in a command'
        elif len(path.parts) == 1:
            if lines > LAUNCHER_LINES:
                yield f'{path}: {lines} lines in a launcher'
        elif lines > LINES:
            yield f'{path}: {lines} lines'
        yield from functions(path, text)


def functions(path: PurePosixPath, text: str) -> Iterator[str]:
    """Yields functions that are too long or take too many arguments."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f'{path}:{node.lineno}: {node.name} has {lines} lines'
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([a for a in arguments if a.arg not in ('self', 'cls')])
            is_command = any('click.' in ast.unparse(d) for d in node.decorator_list)
            if count > ARGUMENTS and not is_command:
                yield f'{path}:{node.lineno}: {node.name} takes {count} arguments'


def findings(sources: Sources) -> list[prose.Finding]:
    """Returns every place of aim 8, in comments, docstrings and pages."""
    found: list[prose.Finding] = []
    for path in sources.paths:
        if path.suffix == '.py':
            found += prose.in_python(str(path), sources.read(path))
        elif path.suffix in ('.cpp', '.h', '.cu', '.cuh'):
            found += prose.in_cpp(str(path), sources.read(path))
        elif path.suffix == '.md' and path.name != 'STYLE.md':
            found += prose.in_page(str(path), sources.read(path))
    return found


def names_defined_twice(sources: Sources) -> Iterator[str]:
    """Yields the public classes and functions that several modules of the house define (aim 9); `main` is exempt."""
    places = defaultdict(list)
    for path in sources.house():
        for node in ast.parse(sources.read(path)).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
                places[node.name].append(f'{path}:{node.lineno}')
    yield from (f'{name}: {", ".join(where)}' for name, where in sorted(places.items()) if len(where) > 1)


def is_public(name: str) -> bool:
    """Whether a name should have one owner."""
    return not name.startswith('_') and name != 'main'


def without_test(sources: Sources) -> Iterator[str]:
    """Yields the modules of the house that have no test at the mirrored path (aim 10)."""
    tests = {str(path) for path in sources.modules if path.parts[0] == 'tests'}
    for path in sources.house():
        mirrored = f'tests/{path.parent}/test_{path.name}'
        if len(path.parts) > 1 and path.name != '__main__.py' and mirrored not in tests:
            yield f'{path} ({mirrored})'


def durations(path: Path) -> list[tuple[float, str]]:
    """Returns seconds and names of tests, slowest first, from a junit file or the output of --durations."""
    text = path.read_text()
    if text.lstrip().startswith('<'):
        cases = ElementTree.fromstring(text).iter('testcase')
        found = [(float(case.get('time', 0)), f'{case.get("classname")}::{case.get("name")}') for case in cases]
    else:
        found = [(float(s), name) for s, name in re.findall(r'^([\d.]+)s (?:call|setup|teardown) +(.+)$', text, re.M)]
    return sorted(found, reverse=True)


def section(title: str, lines: list[str], summary: bool) -> None:
    """Prints a section.

    Args:
        title: Title, printed with the number of lines.
        lines: The lines.
        summary: Whether to leave out the lines.
    """
    print(f'\n{title}: {len(lines)}')
    for line in lines if not summary else ():
        print(f'  {line}')


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument('--durations', type=Path, help='output of pytest --durations=N, or of --junit-xml')
    parser.add_argument('--summary', action='store_true', help='counts alone')
    args = parser.parse_args()
    sources = Sources(args.root)
    print(
        f'{len(sources.python)} Python files, {sum(sources.read(path).count(chr(10)) for path in sources.python)} lines'
    )

    section('Aim 7, sizes', list(sizes(sources)), summary=False)
    found = findings(sources)
    section('Aim 8, prose', [f'{f.path}:{f.line}: {f.rule}: {f.text}' for f in found], args.summary)
    rules = Counter((f.rule, f.path.partition('/')[0]) for f in found)
    for rule in sorted({f.rule for f in found}):
        places = {top: n for (name, top), n in sorted(rules.items()) if name == rule}
        print(f'  rule {rule}: {sum(places.values())}  ({", ".join(f"{top} {n}" for top, n in places.items())})')
    section('Aim 9, public names defined more than once', list(names_defined_twice(sources)), summary=False)
    section('Aim 10, modules without a test at the mirrored path', list(without_test(sources)), args.summary)
    if args.durations:
        tests = durations(args.durations)
        title = (
            f'Aim 11, durations: {sum(s for s, _ in tests):.0f} s in all listed tests (aims: {FAST_S} s, {WHOLE_S} s)'
        )
        section(title, [f'{s:7.2f} s  {name}' for s, name in tests[:SLOWEST]], summary=False)


if __name__ == '__main__':
    sys.exit(main())
