"""House rules: launchers, docstrings, empty `__init__.py` files, and strings that name an object."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.contracts.test_layering import FILES, TOPS

OBJECT = re.compile(r'([a-z]\w*(?:\.\w+)*):([A-Za-z_]\w*(?:\.\w+)*)')  # 'module:Class.method'
MODULES_ONLY = {'convert', 'doctor'}  # also `python -m training.legacy` and `python -m torch_utils.doctor`
LAZY = ROOT / 'ganfoundry' / '__init__.py'  # the public names, loaded when they are first used


def tracked(pattern: str) -> list[Path]:
    """Returns the tracked files that match a pattern of git."""
    names = subprocess.run(['git', 'ls-files', pattern], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).exists()]


def without_docstring(tree: ast.Module) -> Iterator[str]:
    """Yields the public classes and functions of a module that have no docstring, and `module` for its own.

    Methods are exempt: what `forward` and an implementation of a protocol do is written at the class or the protocol.
    """
    if ast.get_docstring(tree) is None:
        yield 'module'
    definitions = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    yield from (n.name for n in definitions if not n.name.startswith('_') and ast.get_docstring(n) is None)


def objects_named(source: str) -> set[str]:
    """Returns every string of a source file that has the form 'module:object' and names a module of ours."""
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return {
        text
        for text in strings
        if isinstance(text, str) and OBJECT.fullmatch(text) and text.partition('.')[0] in {*TOPS, 'tests'}
    }


def resolve(name: str) -> object:
    """Returns the object that 'module:object' names."""
    module, _, path = name.partition(':')
    found: object = importlib.import_module(module)
    for attribute in path.split('.'):
        found = getattr(found, attribute)
    return found


def test_the_root_holds_one_launcher_per_command_and_nothing_else():
    launchers = {path.stem for path in tracked(':(glob)*.py')}
    commands = {path.stem for path in tracked('ganfoundry/commands/*.py')} - {'__init__'}
    assert launchers == commands - MODULES_ONLY


@pytest.mark.parametrize('launcher', tracked(':(glob)*.py'), ids=lambda path: path.name)
def test_a_launcher_is_a_docstring_two_imports_and_a_call(launcher: Path):
    tree = ast.parse(launcher.read_text())
    kinds = [type(node) for node in tree.body]
    assert kinds == [ast.Expr, ast.ImportFrom, ast.ImportFrom, ast.If]
    assert f'from ganfoundry.commands.{launcher.stem} import main' in launcher.read_text()
    runpy.run_path(str(launcher), run_name='launcher')  # its imports exist


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_module_class_and_function_has_a_docstring(path: Path):
    assert list(without_docstring(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize('path', tracked('*__init__.py'), ids=lambda path: str(path.relative_to(ROOT)))
def test_an_init_file_holds_a_docstring_at_most(path: Path):
    body = ast.parse(path.read_text()).body
    assert path == LAZY or body == [] or (len(body) == 1 and isinstance(body[0], ast.Expr))


def test_every_string_that_names_an_object_resolves():
    names = {name for path in tracked('*.py') for name in objects_named(path.read_text())}
    assert len(names) > 10
    for name in sorted(names):
        resolve(name)


def test_every_entry_point_of_the_package_resolves():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    groups = [project.get('scripts', {}), *project.get('entry-points', {}).values()]
    for group in groups:
        for name in group.values():
            resolve(name)


def test_the_checks_find_violations():
    assert list(without_docstring(ast.parse('class A: pass\ndef _b(): pass'))) == ['module', 'A']
    assert list(without_docstring(ast.parse('"""A."""\ndef b():\n    """Returns."""'))) == []
    assert objects_named("x = ['training.step:TrainStep', 'rank 0: gone', 'os:replace']") == {'training.step:TrainStep'}
    with pytest.raises(AttributeError):
        resolve('json:NoSuchClass')
    with pytest.raises(ModuleNotFoundError):
        resolve('no_such_module:NoSuchClass')


def test_the_name_of_a_test_has_at_most_80_characters():
    found = {name for path in tracked('tests/*.py') for name in re.findall(r'^def (test_\w+)', path.read_text(), re.M)}
    assert len(found) > 1000
    assert {name for name in found if len(name) > 80} == set()
