"""Paths on command lines: every option, list and variable that holds a path takes `~` as the home folder."""

import importlib
import os
import re
from pathlib import Path

import click
import pytest

from dnnlib.download import cache_folder
from ganfoundry.cli import COMMANDS
from ganfoundry.latent_options import parse_points
from metrics.detectors import custom, weights
from tests.support.runs import make_zip
from torch_utils.ops.toolchain import library_folders, nvcc
from training.data.convert.picture_list import ListSource

PATHS = re.compile(r'PATH|DIR|FILE|FROM|URL|DATA|PNG')
NAMED = {'detector_path', 'latents', 'rows', 'cols'}  # paths are a part of the value, expanded where it is taken apart
ARGUMENTS = {'others', 'file', 'data'}


def parameters():
    """Yields (command, parameter) for every option and argument that holds a path."""
    commands = [importlib.import_module(f'ganfoundry.commands.{name.replace("-", "_")}').main for name in COMMANDS]
    for command in commands:
        below = [command.get_command(click.Context(command), name) for name in command.list_commands(click.Context(
            command))] if isinstance(command, click.Group) else []  # fmt: skip
        for each in (command, *below):
            for param in each.params:
                words = param.metavar or param.name.upper()
                if param.name in ARGUMENTS or (PATHS.search(words) and param.name not in NAMED):
                    yield f'{each.name} {param.opts[0]}', param


FOUND = dict(parameters())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    return tmp_path


def test_the_options_with_paths_are_found():
    names = {name.split()[-1] for name in FOUND}
    assert names >= {'--outdir', '--data', '--metric-data', '--resume', '--plugin', '--network', '--images', '--dest',
                     '--projected-w', '--source', '--out', '--export', 'data', 'others', 'file'}  # fmt: skip


@pytest.mark.parametrize('name', FOUND)
def test_an_option_takes_the_home_folder_and_keeps_addresses(home, name):
    def parsed(text):
        return os.fspath(FOUND[name].type.convert(text, FOUND[name], None))

    assert parsed('~/a.zip') == f'{home}/a.zip'
    assert parsed('b/~/a.zip') == 'b/~/a.zip'
    if name.split()[-1] in ('--resume', '--network', 'others'):
        assert parsed('https://host/~me/net.pkl') == 'https://host/~me/net.pkl'


@pytest.mark.parametrize('variable', ['GANFOUNDRY_CACHE', 'DNNLIB_CACHE_DIR'])
def test_a_variable_of_the_cache_takes_the_home_folder(home, monkeypatch, variable):
    for name in ('GANFOUNDRY_CACHE', 'DNNLIB_CACHE_DIR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, '~/cache')
    assert cache_folder() == home / 'cache'
    if variable == 'GANFOUNDRY_CACHE':
        assert next(library_folders.cache_folders()) == home / 'cache'


def test_the_variables_of_detectors_and_of_cuda_take_the_home_folder(home, monkeypatch):
    (home / 'nets').mkdir()
    monkeypatch.setenv(weights.FOLDER_VARIABLE, '~/nets')
    assert weights.detectors_folder() == home / 'nets'
    compiler = home / 'cuda' / 'bin' / 'nvcc'
    compiler.parent.mkdir(parents=True)
    compiler.write_text('')
    compiler.chmod(0o755)
    monkeypatch.setenv('PATH', str(home))
    monkeypatch.setenv('CUDA_HOME', '~/cuda')
    assert nvcc.find_nvcc() == str(compiler)


def test_the_file_of_a_detector_may_lie_in_the_home_folder(home, monkeypatch):
    monkeypatch.setattr(weights, '_paths', {})
    (home / 'net.pt').write_text('')
    weights.set_weights_path('inception', '~/net.pt')
    assert weights.named_path('inception') == home / 'net.pt'
    assert custom.declare('mine', '~/net.pt,size=32').path == home / 'net.pt'


def test_a_latents_file_among_seeds_may_lie_in_the_home_folder(home):
    (home / 'a.npz').write_text('')
    files = [part for part in parse_points('0,3-5,~/a.npz:0,2,~/b.npz', '--rows') if hasattr(part, 'path')]
    assert [file.path for file in files] == [home / 'a.npz', home / 'b.npz']


def test_a_list_of_pictures_takes_the_home_folder(home):
    (home / 'lists').mkdir()
    make_zip(home / 'a.png')
    (home / 'lists' / 'list.txt').write_text('~/a.png\nb.png\n')
    source = ListSource(str(home / 'lists' / 'list.txt'))
    assert source.where(0) == str(home / 'a.png')
    assert source.where(1) == str(home / 'lists' / 'b.png')
    assert source.read(0) == Path(home, 'a.png').read_bytes()
