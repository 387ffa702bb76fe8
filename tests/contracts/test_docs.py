"""Promises of the documentation: commands work, links resolve, tables are current, counts are those of the networks."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import PIL.Image
import pytest
import torch

import ganfoundry
from bench.counts import cells_of
from docs import flags as option_tables
from ganfoundry import runs
from ganfoundry.commands import train
from ganfoundry.options import TrainFlags
from tests.conftest import ROOT
from tests.support.forks import shared_zygote
from tests.support.pages import BLOCK, blocks_of, check_line, inline_of, lines_of, read
from tests.support.recipes import own_recipes
from tests.support.runs import call, make_zip
from training.build import build_networks
from training.interface import ImageSpec
from training.registry import RECIPES
from training.run.snapshot import save_snapshot, write_snapshot

GUIDES = ('README.md', 'CONTRIBUTING.md', 'STYLE.md', 'CHANGELOG.md')
PAGES = (*GUIDES, *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md')))
EXAMPLES = sorted(f'examples/{path.name}' for path in (ROOT / 'examples').glob('*.py'))
RESOLUTIONS = (32, 64, 128, 256)
DATA = re.compile(r'^(--data|--metric-data)=(.*)')
COUNTS = re.compile(r'\| (\S+) \| (\d+) \| ([\d,]+) \| ([\d.]+ [GM]) \| ([\d,]+) \| ([\d.]+ [GM]) \|')
PLACEHOLDER = re.compile(r'\b(?:test_)?(?:NAME|X|Y|A|B)\b')
# What is replaced in the Python of a page so that it takes seconds: the metric, and training itself.
QUICK = {"'fid50k_full'], ": "'fd_efflite20_full'], cache=False, ", "'fid50k_full'": "'fd_efflite20_full'"}
BEFORE = """
from pathlib import Path
from torch import Tensor
import ganfoundry.trainer
from tests.support.recipes import own_recipes
from training.run.run_folder import RunFolder
ganfoundry.trainer.train_prepared = lambda prepared: (RunFolder(Path(prepared.name)), 0)
"""


@pytest.mark.parametrize('page', [*PAGES, *EXAMPLES])
def test_every_line_of_a_shell_script_exists_with_its_options(page):
    for words in [*lines_of(page), *inline_of(page)]:
        try:
            check_line(words)
        except (click.ClickException, AssertionError, OSError, ValueError) as error:
            pytest.fail(f'{page}: {shlex.join(words)}\n{error}')


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """A folder with small data sets of every size, a run and a snapshot under the names of the pages."""
    folder = tmp_path_factory.mktemp('place')
    for res in RESOLUTIONS:
        make_zip(folder / f'images{res}.zip', num_images=4, resolution=res)
    make_zip(folder / 'ffhq256.zip', resolution=32)
    make_run(folder)
    PIL.Image.new('RGB', (40, 40), 'red').save(folder / 'me.png')
    run = runs.new_run(TrainFlags(cfg='squeeze', data=str(folder / 'images64.zip'), device='cpu'))
    with torch.device('meta'):
        _, D = build_networks(run.cfg, run.dataset.spec)
    tensors = {f'D.{name}': torch.zeros(value.shape) for name, value in D.state_dict().items() if name.startswith('b4')}
    write_snapshot(folder / 'network-snapshot-000200.safetensors', tensors, runs.record_of(run), 200_000)
    return folder


def make_run(folder: Path) -> None:
    """Writes a run folder with one snapshot of small networks, as if it had been trained."""
    small = {'cbase': 256, 'cmax': 8, 'map_depth': 2}
    flags = TrainFlags(cfg='squeeze', data=str(folder / 'ffhq256.zip'), device='cpu', **small)
    run = runs.new_run(flags)
    G, D = build_networks(run.cfg, run.dataset.spec)
    made = runs.make_folder(folder / 'runs', 'ffhq256-squeeze', runs.record_of(run))
    save_snapshot(made.snapshot(200_000), G, D, runs.record_of(run), 200_000)
    made.path.rename(made.path.with_name('00003-ffhq256-squeeze'))


def resolution_of(name: str) -> int:
    """Returns the size at the end of a documented data set's name; 64 if there is none."""
    found = re.search(r'(\d+)\.zip$', name)
    return int(found[1]) if found else 64


def plans_of(page: str) -> Iterator[list[str]]:
    """Yields the options of every `train.py` of a page. `--plugin` and `--detector-path` have tests of their own."""
    for words in lines_of(page):
        if 'train.py' in words and not any(word.startswith(('--plugin', '--detector-path')) for word in words):
            yield words[words.index('train.py') + 1 :]


@pytest.mark.parametrize('page', [page for page in PAGES if next(plans_of(page), None) is not None])
def test_every_training_command_makes_a_plan(page, place, monkeypatch):
    planned = []
    # The text of the plan has its own tests; it is printed after networks, data and config were made.
    monkeypatch.setattr('ganfoundry.trainer.print_plan', lambda run, where, verbose: planned.append(run.cfg))
    monkeypatch.setattr('ganfoundry.trainer.print_recipes', lambda flags: planned.append(None))
    monkeypatch.setattr('ganfoundry.trainer.check_logger', lambda name, option: None)  # W&B need not be installed
    monkeypatch.chdir(place)
    (run,) = (place / 'runs').glob('0*')
    lines = list(plans_of(page))
    for words in lines:
        args = [DATA.sub(lambda m: f'{m[1]}={place / f"images{resolution_of(m[2])}.zip"}', word) for word in words]
        try:
            train.main.main([*args, '-n', '--outdir=runs'], standalone_mode=False)
        except Exception as error:
            pytest.fail(f'{page}: python train.py {shlex.join(words)}\n{error}')
    assert len(planned) == len(lines)
    assert list((place / 'runs').glob('0*')) == [run]


@pytest.mark.slow
def test_the_plugin_of_the_readme_makes_a_plan(tmp_path):
    (code,) = [code for language, code in blocks_of('README.md') if language == 'python' and '# ring.py' in code]
    (tmp_path / 'ring.py').write_text(code)
    (flags,) = [words[2:] for words in lines_of('README.md') if '--plugin=ring.py' in words]
    args = [flag.replace('ring.py', str(tmp_path / 'ring.py')) for flag in flags]
    assert '"kind": "ring"' in call(tmp_path / 'runs', *args, '-n', '-v', '--resolution=16').stdout


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in PAGES if any(name == 'python' for name, _ in blocks_of(page))])
def test_the_python_of_a_page_runs(page, place, tmp_path, monkeypatch):
    code = '\n'.join(code for language, code in blocks_of(page) if language == 'python')
    for documented, quick in QUICK.items():
        code = code.replace(documented, quick)
    script, output = tmp_path / 'page.py', tmp_path / 'output'
    script.write_text(BEFORE + code)
    monkeypatch.chdir(place)
    launch = shared_zygote().start('tests.support.zygote:run_script', str(script), output=output)
    assert launch.wait() == 0, output.read_text()


def test_the_tables_of_options_are_current_and_complete():
    for command, page in option_tables.PAGES.items():
        text = (ROOT / 'docs' / page).read_text()
        assert option_tables.render(text) == text, f'docs/{page}: python docs/flags.py --write'
        names = [name for of, name in option_tables.listed(text) if of == command]
        assert sorted(names) == sorted(option_tables.options_of(command))


def test_every_public_name_is_on_the_page_of_the_api():
    names = {word for text in re.findall(r'`([^`\n]+)`', read('docs/api.md')) for word in re.findall(r'\w+', text)}
    assert [name for name in ganfoundry.__all__ if name != '__version__' and name not in names] == []


def test_every_option_of_the_dataset_tool_is_on_the_page_about_data():
    text = (ROOT / 'docs' / 'data.md').read_text()
    tool = import_module('ganfoundry.commands.dataset_tool').main
    verify = tool.get_command(click.Context(tool), 'verify')
    names = [name for command in (tool, verify) for option in command.params for name in option.opts]
    assert [name for name in names if name.startswith('--') and f'`{name}' not in text] == []


def test_every_link_resolves():
    listed = subprocess.run(['git', 'ls-files', '*.md'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    broken = []
    for page in listed.split():
        text = BLOCK.sub('', read(page))
        for target in re.findall(r'\]\(([^)\s]+)\)', text):
            if re.match(r'https?:', target):
                continue
            name, _, anchor = target.partition('#')
            path = (ROOT / page).parent / name if name else ROOT / page
            if not path.exists() or (anchor and anchor not in anchors_of(path)):
                broken.append(f'{page}: {target}')
    assert broken == []


def anchors_of(path: Path) -> set[str]:
    """Returns the anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r'^#+ (.*)', BLOCK.sub('', path.read_text()), flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_the_index_links_every_page():
    index = (ROOT / 'docs' / 'README.md').read_text()
    pages = [path.name for path in (ROOT / 'docs').glob('*.md') if path.name != 'README.md']
    assert [name for name in pages if f']({name})' not in index] == []


def test_the_readme_has_at_most_200_lines():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 200


def test_the_readme_names_every_extra():
    extras = tomllib.loads(read('pyproject.toml'))['project']['optional-dependencies']
    rows = re.findall(r'^\| (`[\w-]+`.*?) \| [^|]*\|$', read('README.md'), flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r'`([\w-]+)`', row)}
    assert [name for name in extras if name not in named] == []


def test_paths_in_the_guides_exist():
    missing = []
    for page in PAGES:
        if page == 'CHANGELOG.md':  # names what has moved
            continue
        for name in re.findall(r'`((?:[\w.]+/)+[\w.]*)`', read(page)):
            top = name.partition('/')[0]
            if (ROOT / top).exists() and not PLACEHOLDER.search(name) and not (ROOT / name).exists():
                missing.append(f'{page}: {name}')
    assert missing == []


def test_every_architecture_is_documented():
    text = (ROOT / 'docs' / 'generators.md').read_text()
    assert [name for name in own_recipes() if f'`--cfg={name}`' not in text] == []


@pytest.mark.slow
def test_the_tables_of_counts_are_the_networks_own():
    rows = set(COUNTS.findall((ROOT / 'docs' / 'generators.md').read_text()))
    assert len({name for name, *_ in rows}) >= 5
    for name, res, *cells in rows:
        spec = ImageSpec(resolution=int(res), channels=3, label_dim=0, num_images=1)
        assert tuple(cells) == cells_of(RECIPES.get(name).make(spec, 1), spec), f'{name} at {res}x{res}'


def test_the_version_of_the_citation_and_of_the_changelog_is_that_of_the_package():
    release = ganfoundry.__version__.partition('.dev')[0]
    assert f'\nversion: {release}\n' in read('CITATION.cff')
    assert re.findall(r'^## (\S+)', read('CHANGELOG.md'), flags=re.MULTILINE)[0] == release


def expanded(text: str) -> list[str]:
    """Returns the names that 'a.{b,c}' abbreviates."""
    if '{' not in text:
        return [text]
    stem, _, names = text.removesuffix('}').partition('{')
    return [stem + name for name in names.split(',')]


def test_the_modules_of_the_changelog_are_where_it_says():
    rows = re.findall(r'^\| (`.*) \| (`.*) \|$', read('CHANGELOG.md'), flags=re.MULTILINE)
    assert len(rows) > 25
    new = [name for _, cell in rows for text in re.findall(r'`([^`]+)`', cell) for name in expanded(text)]
    assert [name for name in new if not (ROOT / f'{name.replace(".", "/")}.py').exists()] == []
