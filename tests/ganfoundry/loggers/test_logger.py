"""Lookup of loggers: known names, entry points, classes, and the way out of each mistake."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.loggers import logger
from ganfoundry.loggers.logger import BUILTIN, check_logger, make_logger
from tests.support.run_records import Recorder


def test_a_class_and_an_entry_point_are_found(monkeypatch):
    point = importlib.metadata.EntryPoint('mine', 'tests.support.run_records:Recorder', logger.GROUP)
    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda group: [point] if group == logger.GROUP else [])
    for name in ('mine', 'tests.support.run_records:Recorder'):
        check_logger(name, '--to')
        assert isinstance(make_logger(name, '--to'), Recorder)


def test_a_class_of_the_present_folder_is_found_and_a_check_imports_nothing(tmp_path, monkeypatch):
    methods = ''.join(f'    def {name}(self, *a): pass\n' for name in ('start', 'scalars', 'image', 'finish'))
    (tmp_path / 'logger_of_this_folder.py').write_text(
        f'class Mine:\n{methods}class Half:\n    def start(self): pass\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    check_logger('logger_of_this_folder:Mine', '--log')
    assert 'logger_of_this_folder' not in sys.modules
    assert type(make_logger('logger_of_this_folder:Mine', '--log')).__name__ == 'Mine'
    with pytest.raises(ConfigError, match=re.escape('Half has no scalars(); a logger has start, scalars, image')):
        make_logger('logger_of_this_folder:Half', '--to')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('wandbb', "unknown logger 'wandbb': did you mean 'wandb'? known: mlflow, tensorboard, trackio, wandb, or"),
        ('', 'unknown logger'),
        ('a b:C', 'expected module:Class, such as my_logger:MyLogger'),
        (':C', 'expected module:Class'),
        ('no_such_module_here:C', 'there is no module no_such_module_here in this folder or among the installed'),
        ('json:NoSuchClass', 'module json has no class NoSuchClass'),
        ('json:loads', 'module json has no class loads'),
        ('json.no_such:A', 'there is no module json.no_such'),
    ],
)
def test_a_name_that_leads_to_no_logger_is_refused(name, message):
    def find() -> None:
        check_logger(name, '--to')
        make_logger(name, '--to')

    with pytest.raises(ConfigError, match=re.escape(message)):
        find()


@pytest.mark.parametrize('name', BUILTIN)
def test_a_missing_package_is_named_with_its_pip_line(name, tmp_path, monkeypatch):
    package, install = BUILTIN[name].package, BUILTIN[name].install
    (tmp_path / package).mkdir()  # W&B leaves such a folder, which is no package
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(ConfigError) as error:
        check_logger(name, '--log')
    assert str(error.value) == f'--log={name}: {package} is not installed; {install} installs it'
    assert Path(tmp_path, package).exists()


@pytest.mark.parametrize('name', BUILTIN)
def test_every_logger_satisfies_the_interface_without_its_package(name):
    made = make_logger(name, '--to')
    assert all(callable(getattr(made, method)) for method in ('start', 'scalars', 'image', 'finish'))


def test_the_end_of_the_process_while_a_class_is_made_is_an_error(monkeypatch):
    monkeypatch.setattr(Recorder, '__init__', lambda self: sys.exit(0))
    with pytest.raises(ConfigError, match=re.escape('calls sys.exit(0)')):
        make_logger('tests.support.run_records:Recorder', '--to')
