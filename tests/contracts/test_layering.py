"""Nothing imports upward, and packages that share a floor do not import each other (docs: README, "Layout")."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Module prefix -> floor; the longest matching prefix decides.
FLOORS = {
    'dnnlib': 0,
    'torch_utils': 1,
    'metrics': 2,
    'training': 2,
    'training.build': 2.1,
    'training.state': 2.1,
    'training.step': 2.1,
    'training.fakes': 2.1,
    'training.terms': 2.1,
    'training.plan': 2.1,
    'training.run': 2.1,
    'training.legacy': 2.1,
    'training.loop': 2.2,
    'extensions': 3,
    'ganfoundry': 4,
    'train': 5,
    'generate': 5,
    'calc_metrics': 5,
    'dataset_tool': 5,
}
LOOP = 2.2  # architectures may use all of training/ but the loop
FILES = sorted(
    path
    for top in {name.split('.')[0] for name in FLOORS}
    for path in ([ROOT / f'{top}.py'] if (ROOT / f'{top}.py').exists() else (ROOT / top).rglob('*.py'))
)


def floor_of(module: str) -> tuple[str, float] | None:
    """The longest known prefix of a module, and its floor; None for what is not ours."""
    parts = module.split('.')
    for n in range(len(parts), 0, -1):
        if (prefix := '.'.join(parts[:n])) in FLOORS:
            return prefix, FLOORS[prefix]
    return None


def imports_of(source: str) -> set[str]:
    """Every module that a source file imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'imports are absolute here'
            found |= {node.module or ''} | {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def violations(importer: str, imported: set[str]) -> list[str]:
    """Imports that go up, or sideways into another package."""
    own = floor_of(importer)
    assert own is not None
    problems = []
    for module in sorted(imported):
        other = floor_of(module)
        if other is None:
            continue
        sideways = importer.split('.')[0] != module.split('.')[0] and other[1] == own[1] and own[1] < 4
        if other[1] > own[1] or sideways or (own[0] == 'extensions' and other[1] == LOOP):
            problems.append(f'{importer} (floor {own[1]}) imports {module} (floor {other[1]})')
    return problems


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward(path: Path):
    module = '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')
    assert violations(module, imports_of(path.read_text())) == []


def test_floor_zero_needs_no_torch():
    for path in (ROOT / 'dnnlib').rglob('*.py'):
        tops = {name.split('.')[0] for name in imports_of(path.read_text())}
        assert tops.isdisjoint({'torch', 'PIL', 'click', 'psutil', 'safetensors'}), path


def test_the_check_itself_finds_violations():
    assert violations('torch_utils.stats', {'training.loop'})
    assert violations('metrics.kinds.kid', {'training.data.dataset'})
    assert violations('training.data.dataset', {'metrics.kinds.kid'})
    assert violations('extensions.squeeze', {'training.loop.Loop'})
    assert not violations('extensions.squeeze', {'training.build', 'torch_utils.ops.bias_act'})
    assert imports_of('def f():\n    from training import loop\n') >= {'training.loop'}
