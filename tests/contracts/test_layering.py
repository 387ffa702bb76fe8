"""Floors of the house: no module imports upward, and neither files nor packages import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

# Module, or package with everything in it -> floor. The longest matching entry decides; a module without one fails.
FLOORS = {
    'dnnlib': 0,
    'torch_utils': 1,
    'metrics.detectors': 1.5,  # networks that read images: loss terms may use them, too
    'metrics.streams.images': 1.5,
    'metrics': 2,
    'training.interface': 2,
    'training.registry': 2,
    'training.config': 2,
    'training.record': 2,
    'training.recipes': 2,
    'training.data': 2,
    'training.networks': 2,
    'training.objective': 2,
    'training.augment': 2,
    'training.optimize': 2,
    'training.build': 2.1,
    'training.state': 2.1,
    'training.step': 2.1,
    'training.terms': 2.1,
    'training.fakes': 2.1,
    'training.passes': 2.1,
    'training.graphs': 2.1,
    'training.plan': 2.1,
    'training.sizes': 2.1,
    'training.trial': 2.1,
    'training.unused_labels': 2.1,
    'training.run': 2.1,
    'training.legacy': 2.1,
    'training.loop': 2.2,
    'extensions': 3,
    'ganfoundry': 4,
    'train': 5,
    'generate': 5,
    'style_mixing': 5,
    'gen_video': 5,
    'projector': 5,
    'compare': 5,
    'export': 5,
    'inspect_network': 5,
    'explore': 5,
    'report': 5,
    'calc_metrics': 5,
    'log_run': 5,
    'dataset_tool': 5,
}
LOOP = 2.2  # architectures may use all of training/ except the loop
OUTSIDE = {'tests', 'bench', 'docs', 'examples'}  # nothing in the house imports these
SHIM = ('training.legacy.__main__', 'ganfoundry.commands.convert')  # `python -m training.legacy` of version 1
ALLOWED = {SHIM, (SHIM[0], f'{SHIM[1]}.main')}
NOT_ON_FLOOR_ZERO = {'torch', 'PIL', 'click', 'psutil', 'safetensors'}
TOPS = sorted({name.partition('.')[0] for name in FLOORS})


class Import(NamedTuple):
    """One import statement's module, and whether it runs or serves type checkers only."""

    module: str
    typing_only: bool = False


def module_name(path: Path) -> str:
    """Returns the dotted name of a source file; a package's is that of its folder."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


FILES = sorted(
    path
    for top in TOPS
    for path in ([ROOT / f'{top}.py'] if (ROOT / f'{top}.py').exists() else (ROOT / top).rglob('*.py'))
)
PACKAGES = {module_name(path) for path in FILES if path.name == '__init__.py'}
MODULES = {module_name(path): path for path in FILES}


def floor_of(module: str) -> float | None:
    """Returns the floor of a module of the house, None for a module that has no entry."""
    parts = module.split('.')
    return next((FLOORS[p] for n in range(len(parts), 0, -1) if (p := '.'.join(parts[:n])) in FLOORS), None)


def imports_of(source: str) -> set[Import]:
    """Returns every import of a source file: at its top, inside functions, and by a literal `import_module`."""
    tree = ast.parse(source)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) in ('TYPE_CHECKING', 'typing.TYPE_CHECKING')
        for statement in block.body
        for node in ast.walk(statement)
    }
    return {Import(name, id(node) in typing_only) for node in ast.walk(tree) for name in names_in(node)}


def names_in(node: ast.AST) -> list[str]:
    """Returns the modules that one node imports, and `module.name` for each name that it takes from a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, 'imports are absolute here'
        return [node.module or '', *(f'{node.module}.{alias.name}' for alias in node.names)]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ('importlib.import_module', 'import_module'):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def violations(importer: str, imports: Iterable[Import]) -> list[str]:
    """Returns the imports of one module that go up, or sideways into another top-level package."""
    own = floor_of(importer)
    assert own is not None
    problems = []
    for module, typing_only in sorted(imports):
        top = module.partition('.')[0]
        same_top = top == importer.partition('.')[0]
        other = floor_of(module) if top in TOPS else None
        if top in OUTSIDE:
            problems.append(f'{importer} imports {module}, which is outside the house')
        if other is None or (importer, module) in ALLOWED or (typing_only and same_top):
            continue
        sideways = other == own and not same_top
        if other > own or sideways or (importer.startswith('extensions.') and other == LOOP):
            problems.append(f'{importer} (floor {own}) imports {module} (floor {other})')
    return problems


def import_graph() -> dict[str, set[str]]:
    """Returns, for every module, the modules of the house that it imports; imports for type checkers are left out."""
    graph = {}
    for name, path in MODULES.items():
        found = {module for module, typing_only in imports_of(path.read_text()) if not typing_only}
        found -= {imported for importer, imported in ALLOWED if importer == name}
        graph[name] = {module for module in found if module in MODULES and module not in PACKAGES | {name}}
    return graph


def room_of(module: str) -> str:
    """Returns the package that counts for circles: a folder or a module of training/, else the top-level package."""
    parts = module.split('.')
    return '.'.join(parts[:2]) if parts[0] == 'training' else parts[0]


def rooms(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Returns the graph of packages that a graph of files makes."""
    result: dict[str, set[str]] = {}
    for module, imported in graph.items():
        own = room_of(module)
        result.setdefault(own, set()).update({room_of(other) for other in imported} - {own})
    return result


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Returns groups of nodes each of which reaches all others of its group."""
    reach = {node: reachable(graph, node) for node in graph}
    groups = {frozenset({a} | {b for b in reach[a] if a in reach.get(b, ())}) for a in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Returns all nodes that can be reached from `start` along edges."""
    seen: set[str] = set()
    todo = list(graph[start])
    while todo:
        if (node := todo.pop()) not in seen:
            seen.add(node)
            todo += graph.get(node, ())
    return seen


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward(path: Path):
    module = module_name(path)
    if module not in PACKAGES or module in FLOORS:
        assert floor_of(module) is not None, f'{module} has no entry in FLOORS'
        assert violations(module, imports_of(path.read_text())) == []


def test_every_entry_is_a_module():
    assert set(FLOORS) - set(MODULES) == set()


def test_no_files_import_each_other_in_a_circle():
    assert circles(import_graph()) == []


def test_no_packages_import_each_other_in_a_circle():
    assert circles(rooms(import_graph())) == []


def test_floor_zero_needs_no_torch():
    for path in (ROOT / 'dnnlib').rglob('*.py'):
        tops = {module.partition('.')[0] for module, _ in imports_of(path.read_text())}
        assert tops.isdisjoint(NOT_ON_FLOOR_ZERO), path


@pytest.mark.parametrize(
    ('importer', 'imported', 'found'),
    [
        ('torch_utils.stats', 'training.loop', True),
        ('metrics.kinds.kid', 'training.data.dataset', True),
        ('training.data.dataset', 'metrics.kinds.kid', True),
        ('extensions.squeeze', 'training.loop.Loop', True),
        ('training.config', 'tests.conftest', True),
        ('extensions.squeeze', 'training.build', False),
        ('extensions.squeeze', 'torch_utils.ops.bias_act', False),
        ('training.config', 'numpy', False),
    ],
)
def test_the_check_finds_violations(importer: str, imported: str, found: bool):
    assert bool(violations(importer, {Import(imported)})) == found


def test_typing_only_imports_may_point_up_within_one_package():
    assert not violations('training.registry', {Import('training.build', typing_only=True)})
    assert violations('training.registry', {Import('training.build')})
    assert violations('torch_utils.stats', {Import('training.build', typing_only=True)})


def test_imports_are_found_everywhere_in_a_file():
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from training.build import build
def f():
    from training import loop
    importlib.import_module('metrics.evaluate')
"""
    assert imports_of(source) >= {
        Import('training.build', typing_only=True),
        Import('training.loop'),
        Import('metrics.evaluate'),
    }


def test_circles_are_found():
    graph = {'a': {'b'}, 'b': {'c'}, 'c': {'a', 'd'}, 'd': set(), 'e': {'d'}}
    assert circles(graph) == [['a', 'b', 'c']]
    files = {'training.run.a': {'training.data.b'}, 'training.data.c': {'training.run.d'}}
    assert circles(files) == []
    assert circles(rooms(files)) == [['training.data', 'training.run']]
