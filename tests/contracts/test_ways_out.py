"""Ways out: what a message advises exists, and following it works.

Each row of `WAYS` is a command line that is refused, and the one that follows from the advice. The words of the second
that the first does not have must be in the message, so that the advice is followed and not invented.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator

import click
import pytest
import torch

from dnnlib.errors import UserError
from ganfoundry.choices import Choice
from ganfoundry.cli import COMMANDS, commands
from ganfoundry.commands import train
from tests.conftest import ROOT
from tests.contracts.test_layering import FILES
from tests.support.recipes import own_recipes
from tests.support.runs import make_zip
from training.config import leaves_of
from training.interface import ImageSpec
from training.objective.term import TERMS
from training.registry import DISCRIMINATORS, GENERATORS, RECIPES

MINE = [f'--plugin={ROOT / "examples" / "my_generator.py"}', '--cfg=mine']
BCR = f'--plugin={ROOT / "examples" / "my_loss_term.py"}'
WAYS = [
    # Names and choices
    (['--cfg=squeze'], ['--cfg=squeeze']),
    (['--aug=adda'], ['--aug=ada']),
    (['--precision=FP32'], ['--precision=fp32']),
    (['--on-nan=roll'], ['--on-nan=rollback']),
    (['--augpipe=bgx'], ['--augpipe=bgc']),
    (['--metrics=non'], ['--metrics=none']),
    (['--metrics=none,fid50k_full'], ['--metrics=none']),
    (['--metrics=fid50k_ful'], ['--metrics=fid50k_full']),
    (['--metrics-images=1'], ['--metrics=none']),
    (['--resume=ffhq265'], ['--resume=ffhq256']),
    (['--device=gpu'], ['--device=cpu']),
    (['--for=2'], ['--for=2h']),
    (['--gama=2'], ['--gamma=2']),
    # Fields
    (['--set', 'r1.gamma'], ['--set', 'r1.gamma=2']),
    (['--set', 'r1.gama=2'], ['--set', 'r1.gamma=2']),
    (['--set', 'gamma=2'], ['--set', 'r1.gamma=2']),
    (['--set', 'r1=2'], ['--set', 'r1.gamma=2']),
    (['--cfg=squeeze', '--set', 'generatr.ratio=2'], ['--cfg=squeeze', '--set', 'generator.ratio=2']),
    (['--set', 'loss.kind=hing'], ['--set', 'loss.kind=hinge']),
    (['--set', 'data.mirror=1'], ['--mirror=1']),
    (['--set', 'precision=fp32'], ['--precision=fp32']),
    (['--set', 'cfg=squeeze'], ['--cfg=squeeze']),
    (['--set', 'seed=3'], ['--seed=3']),
    # Settings that need each other
    (['--aug=fixed'], ['--aug=fixed', '--p=0.5']),
    (['--p=0.5'], ['--aug=fixed', '--p=0.5']),
    (['--aug=noaug', '--augpipe=bg'], ['--aug=ada', '--augpipe=bg']),
    (['--cfg=squeeze', '--target=0.5'], ['--cfg=squeeze', '--aug=apa', '--target=0.5']),
    (['--augpipe=bgcf'], ['--augpipe=bgc']),
    (['--set', 'loss.kind=wasserstein'], ['--set', 'loss.kind=wasserstein', '--set', 'aug.kind=noaug']),
    (['--aug=noaug', '--set', 'loss.kind=relativistic', '--set', 'g_batch_mult=2'],
     ['--aug=noaug', '--set', 'loss.kind=relativistic', '--set', 'g_batch_mult=1']),
    # Batches
    (['--batch=8', '--batch-gpu=3'], ['--batch=9', '--batch-gpu=3']),
    (['--batch=6', '--mbstd-group=4'], ['--batch=8', '--mbstd-group=4']),
    (['--gpus=3', '--batch=8'], ['--gpus=3', '--batch=9']),
    (['--deterministic=1', '--batch=6'], ['--deterministic=1', '--batch=8']),
    # Networks
    (['--cfg=squeeze', '--resolution=8'], ['--cfg=auto', '--resolution=8']),
    (['--cfg=dcgan', '--freezed=2'], ['--cfg=squeeze', '--freezed=2']),
    (['--freezed=9'], ['--freezed=7']),
    (['--subset=100'], ['--subset=40']),
    # Plug-ins
    (['--cfg=mine'], MINE),
    (['--set', 'bcr.weight=1'], [BCR, '--set', 'bcr.weight=1']),
    ([*MINE, '--cbase=128'], [*MINE, '--set', 'discriminator.channel_base=128']),
    ([*MINE, '--map-depth=2'], [*MINE, '--set', 'generator.depth=2']),
    ([*MINE, '--set', 'style_mixing_prob=0.5'], [*MINE, '--set', 'style_mixing_prob=0']),
    ([*MINE, '--set', 'pl.weight=2'], [*MINE, '--set', 'pl.weight=0']),
]  # fmt: skip
# Values that satisfy a rule of the message ("a multiple of", "between 1 and"), in place of a literal advice.
RULES = {'set', '9', '8', '0.5', '2', '3', '1'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(autouse=True)
def without_plugins(monkeypatch):
    """Hides the plug-ins that another test file has loaded while pytest collected it."""
    for name in [name for name in sys.modules if name.startswith('plugin_')]:
        monkeypatch.delitem(sys.modules, name)
        for registry in (GENERATORS, DISCRIMINATORS, RECIPES, TERMS):
            for key in [key for key in registry.names() if registry.module_of(key) == name]:
                monkeypatch.delitem(registry._values, key)
                monkeypatch.delitem(registry._modules, key)


def refusal(run, flags):
    """Returns the message with which a command line is refused."""
    with pytest.raises((UserError, click.UsageError)) as error:
        run(flags)
    return error.value.format_message() if isinstance(error.value, click.UsageError) else str(error.value)


def parts_of(word):
    """Returns the names in a word of a command line, and its value: --set, r1.gamma=2.5 has set, r1, gamma and 2.5."""
    path, _, value = word.partition('=')
    return [part for part in [*path.lstrip('-').split('.'), value] if part]


@pytest.mark.parametrize(('bad', 'good'), WAYS, ids=[' '.join(bad) for bad, _ in WAYS])
def test_the_way_out_of_a_message_works(tmp_path, data, monkeypatch, bad, good):
    def run(flags):
        train.main.main(['-n', f'--data={data}', f'--outdir={tmp_path}', *flags], standalone_mode=False)

    planned = []
    monkeypatch.setattr('ganfoundry.trainer.print_plan', lambda run, where, verbose: planned.append(run))
    message = refusal(run, bad)
    known = {part for word in bad for part in parts_of(word)} | RULES
    for word in good:
        if word.startswith('--plugin'):
            assert word in bad or '--plugin=FILE' in message
        else:
            assert [part for part in parts_of(word) if part not in known and part not in message] == [], message
    run(good)
    assert len(planned) == 1


def test_a_misspelled_command_gets_the_meant_one():
    message = refusal(lambda words: commands.main(words, standalone_mode=False), ['trian'])
    assert "did you mean 'train'?" in message


def parameters() -> Iterator[click.Parameter]:
    for name in COMMANDS:
        main = importlib.import_module(f'ganfoundry.commands.{name.replace("-", "_")}').main
        context = click.Context(main)
        names = main.list_commands(context) if isinstance(main, click.Group) else []
        for command in (main, *(main.get_command(context, each) for each in names)):
            yield from command.params


def test_every_choice_proposes_the_meant_value():
    assert [p.opts for p in parameters() if isinstance(p.type, click.Choice) and not isinstance(p.type, Choice)] == []
    for param in parameters():
        if isinstance(param.type, click.Choice):
            for choice in param.type.choices:
                if len(choice) > 3:
                    with pytest.raises(click.BadParameter, match='; did you mean '):
                        param.type.convert(f'{choice}s', param, None)


# ---- what messages name exists


def strings_of(path) -> Iterator[str]:
    """Yields the string literals of a module without its docstrings; the holes of f-strings are '{}'."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield ''.join(part.value if isinstance(part, ast.Constant) else '{}' for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.value


TEXTS = {str(path.relative_to(ROOT)): list(strings_of(path)) for path in FILES}
# Options of nvidia-smi, git, g++, pip, docker and srun.
FOREIGN = {'--version', '--format', '--query-gpu', '--porcelain', '--untracked-files', '--force-reinstall', '--no-deps',
           '--shm-size', '--ipc', '--gres'}  # fmt: skip


def test_every_option_that_a_message_names_exists():
    known = {name for param in parameters() for name in (*param.opts, *param.secondary_opts)} | {'--help'}
    unknown = {}
    for path, texts in TEXTS.items():
        if 'toolchain' in path:
            continue  # flags of compilers
        for text in texts:
            for name in re.findall(r'(?<![\w-])--[a-z][\w-]*\w', text):
                if name.replace('_', '-') not in known | FOREIGN:
                    unknown.setdefault(path, set()).add(name)
    assert unknown == {}


def test_every_field_that_a_message_sets_exists():
    fields = set()
    for name in own_recipes():
        recipe = RECIPES.get(name)
        spec = ImageSpec(resolution=max(recipe.min_resolution, 64), channels=3, label_dim=0, num_images=9)
        fields |= set(leaves_of(recipe.make(spec, 1)))
    unknown = {}
    for path, texts in TEXTS.items():
        for text in texts:
            for name in re.findall(r'--set[ =]([a-z_][\w.]*)=', text):
                if name not in fields:
                    unknown.setdefault(path, set()).add(name)
    assert unknown == {}


def test_every_page_module_and_extra_that_a_message_names_exists():
    extras = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']
    wrong = []
    for path, texts in TEXTS.items():
        for text in texts:
            wrong += [f'{path}: {page}' for page in re.findall(r'docs/[\w./]+\.md', text) if not (ROOT / page).exists()]
            wrong += [f'{path}: {name}' for name in re.findall(r'python -m ([a-z_][\w.]*\w)', text)
                      if importlib.util.find_spec(name) is None]  # fmt: skip
            wrong += [f'{path}: {name}' for name in re.findall(r'\[([a-z0-9]+)\]"', text) if name not in extras]
    assert wrong == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without a GPU')
def test_a_device_that_is_not_there_names_one_that_is(data, tmp_path, monkeypatch):
    monkeypatch.setattr('ganfoundry.trainer.print_plan', lambda run, where, verbose: None)

    def run(flags):
        train.main.main(['-n', f'--data={data}', f'--outdir={tmp_path}', *flags], standalone_mode=False)

    assert 'use --device=cpu' in refusal(run, ['--device=cuda'])
    run(['--device=cpu'])
