"""What the documentation says can be done: every command line is one that trains, every count is the networks'."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bench.counts import cells_of
from ganfoundry.commands import train
from tests.conftest import ROOT
from tests.support.runs import make_zip
from training.interface import ImageSpec
from training.registry import RECIPES
from training.run.transfer import OFFICIAL

RESOLUTIONS = (32, 64, 128, 256)
ARCHITECTURES = ROOT / 'docs' / 'architectures.md'
# A run or a snapshot that a reader has, and a file that he writes: test_resume.py and test_plugin.py.
NEEDS_FILES = re.compile(rf'--plugin|--detector-path|--resume=(?!({"|".join(OFFICIAL)})$)')
DATA = re.compile(r'^(--data|--metric-data)=(.*)')
COUNTS = re.compile(r'\| (\S+) \| (\d+) \| ([\d,]+) \| ([\d.]+ [GM]) \| ([\d,]+) \| ([\d.]+ [GM]) \|')


def commands(path: Path) -> list[list[str]]:
    """The arguments of every `python train.py` in the code blocks of a page."""
    blocks = re.findall(r'^```(\w*)\n(.*?)^```', path.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = '\n'.join(block for language, block in blocks if not language).replace('\\\n', ' ').splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[2:] for words in split if words[:2] == ['python', 'train.py']]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A few labelled images of every size."""
    folder = tmp_path_factory.mktemp('data')
    return {res: make_zip(folder / f'images{res}.zip', num_images=4, resolution=res) for res in RESOLUTIONS}


def resolution_of(name: str) -> int:
    """The size that a documented data set's name ends with; 64 where it ends with none."""
    found = re.search(r'(\d+)\.zip$', name)
    return int(found[1]) if found else 64


@pytest.mark.parametrize('page', ['docs/architectures.md', 'docs/metrics.md', 'docs/moving.md', 'README.md'])
def test_every_command_line_makes_a_plan(page, data, tmp_path, monkeypatch):
    planned = []
    # The plan's text has tests of its own; networks, data and config are made before it.
    monkeypatch.setattr(train, 'print_plan', lambda run, where: planned.append(run.cfg))
    monkeypatch.setattr(train, 'list_recipes', lambda given: planned.append(None))
    lines = [words for words in commands(ROOT / page) if not any(map(NEEDS_FILES.match, words))]
    assert len(lines) > 3
    for words in lines:
        flags = [DATA.sub(lambda m: f'{m[1]}={data[resolution_of(m[2])]}', word) for word in words]
        try:
            train.main.main([*flags, '-n', f'--outdir={tmp_path}'], standalone_mode=False)
        except Exception as error:
            pytest.fail(f'python train.py {shlex.join(words)}\n{error}')
    assert len(planned) == len(lines)
    assert not list(tmp_path.iterdir())


def test_every_architecture_is_documented():
    RECIPES.load_all()
    text = ARCHITECTURES.read_text()
    assert [name for name in RECIPES.names() if f'`--cfg={name}`' not in text] == []


def test_every_flag_of_training_is_on_the_page_for_those_who_move():
    text = (ROOT / 'docs' / 'moving.md').read_text()
    names = [name for option in train.main.params for name in option.opts]
    assert [name for name in names if f'`{name}' not in text] == []


def test_the_tables_of_counts_are_the_networks_own():
    rows = set(COUNTS.findall(ARCHITECTURES.read_text()))
    assert len({name for name, *_ in rows}) >= 5
    for name, res, *cells in rows:
        spec = ImageSpec(resolution=int(res), channels=3, label_dim=0, num_images=1)
        assert tuple(cells) == cells_of(RECIPES.get(name).make(spec, 1), spec), f'{name} at {res}x{res}'
