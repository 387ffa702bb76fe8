"""The notebooks: their commands are those of the pages, their outputs are stripped, and they run within a minute."""

from __future__ import annotations

import ast
import json
import re
import shlex
import time
from pathlib import Path

import pytest

import ganfoundry
from docs import flags as option_tables
from tests.conftest import ROOT
from tests.support.pages import blocks_of, check_line, lines_of, read
from tests.support.patience import stretched

NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.ipynb'))
# The notebooks use paths relative to their folder.
NEIGHBORS = [*ROOT.glob('*.py'), ROOT / 'examples', ROOT / 'docs']

each = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str) -> list[str]:
    """Returns the sources of the cells of a kind, 'code' or 'markdown'."""
    cells = json.loads(path.read_text())['cells']
    return [''.join(cell['source']) for cell in cells if cell['cell_type'] == kind]


def commands_of(path: Path) -> list[list[str]]:
    """Returns the words of every `%run ../NAME.py ...` of a notebook."""
    code = '\n'.join(cells_of(path, 'code')).replace('\\\n', ' ').replace('{', '').replace('}', '')
    return [shlex.split(line) for line in re.findall(r'^%run \.\./(.*)', code, flags=re.MULTILINE)]


@each
def test_outputs_are_stripped(path):
    notebook = json.loads(path.read_text())
    for cell in notebook['cells']:
        assert not cell.get('outputs')
        assert cell.get('execution_count') is None
    assert set(notebook['metadata']) == {'kernelspec', 'language_info'}
    assert path.stat().st_size < 20_000


@each
def test_every_command_is_one_of_the_pages_with_its_options(path):
    known = [words for page in ('README.md', *(f'docs/{name}' for name in set(option_tables.PAGES.values())))
             for words in lines_of(page)]  # fmt: skip
    for script, *args in commands_of(path):
        check_line(['python', script, *args])
        assert any(words[:2] == ['python', script] for words in known), script
        command = script.removesuffix('.py')
        listed = [
            name for of, name in option_tables.listed(read(f'docs/{option_tables.PAGES[command]}')) if of == command
        ]
        spellings = {opt for name in listed for opt in option_tables.options_of(command)[name].opts}
        assert {arg.partition('=')[0] for arg in args if arg.startswith('-')} <= spellings


@each
def test_every_name_of_the_package_is_on_the_page_of_the_api(path):
    code = '\n'.join(re.sub(r'^%run.*(\n    .*)*', '', cell, flags=re.M) for cell in cells_of(path, 'code'))
    attributes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if ast.unparse(node.value) == 'gf'}
    assert used <= set(ganfoundry.__all__)
    assert [name for name in used if f'gf.{name}(' not in read('docs/api.md')] == []


@each
def test_every_link_resolves(path):
    for target in re.findall(r'\]\(([^)#\s]+)', '\n'.join(cells_of(path, 'markdown'))):
        assert (path.parent / target).exists(), target


def test_the_generator_of_the_notebook_is_the_one_of_the_readme():
    (ring,) = [code for language, code in blocks_of('README.md') if language == 'python' and '# ring.py' in code]
    cells = cells_of(ROOT / 'notebooks' / 'train_your_own_generator.ipynb', 'code')
    assert [cell for cell in cells if cell.startswith(ring) and 'gf.train(' in cell]


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # of the packages of Jupyter
@each
def test_it_runs_within_a_minute(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient')
    nbformat = pytest.importorskip('nbformat')
    pytest.importorskip('ipykernel')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    folder = tmp_path / 'notebooks'
    folder.mkdir()
    for neighbor in NEIGHBORS:
        (tmp_path / neighbor.name).symlink_to(neighbor)
    notebook = nbformat.read(path, as_version=4)
    began = time.monotonic()
    nbclient.NotebookClient(notebook, timeout=None, resources={'metadata': {'path': str(folder)}}).execute()
    assert time.monotonic() - began < stretched(60)
    pictures = [
        kind for cell in notebook.cells for output in cell.get('outputs', ()) for kind in output.get('data', ())
    ]
    assert 'image/png' in pictures
