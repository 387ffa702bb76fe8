"""Three doors for plug-ins, and what is said when none opens."""

import importlib.metadata
import sys
import types

import pytest

from dnnlib.errors import ConfigError
from dnnlib.registry import Registry, load_file, source_of, suggest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package `plugs` with a good, a broken and a multi-name module, and a registry over it."""
    folder = tmp_path / 'plugs'
    folder.mkdir()
    register = 'import plugs\nplugs.REGISTRY.register({!r}, {!r}, module=__name__)\n'
    (folder / '__init__.py').write_text('')
    (folder / 'good.py').write_text(register.format('good', 1))
    (folder / 'family.py').write_text(register.format('one', 1) + register.format('two', 2))
    monkeypatch.syspath_prepend(str(tmp_path))
    import plugs

    plugs.REGISTRY = Registry('thing', packages=('plugs',))
    yield plugs.REGISTRY, folder
    for name in [name for name in sys.modules if name.split('.')[0] == 'plugs']:
        del sys.modules[name]


def test_a_module_is_imported_only_when_its_name_is_asked_for(package):
    registry, _ = package
    assert registry.get('good') == 1
    assert 'plugs.good' in sys.modules
    assert 'plugs.family' not in sys.modules
    assert registry.module_of('good') == 'plugs.good'


def test_a_name_inside_another_module_is_found(package):
    registry, _ = package
    assert registry.get('two') == 2
    assert set(registry.names()) == {'good', 'one', 'two'}


def test_an_unknown_name_lists_the_known_and_the_nearest(package):
    registry, _ = package
    with pytest.raises(ConfigError, match=r"unknown thing 'goood': did you mean 'good'\? known: good, one, two"):
        registry.get('goood')


def test_a_duplicate_names_both_modules(package):
    registry, _ = package
    registry.get('good')
    with pytest.raises(ConfigError, match=r"'good' is registered twice: by plugs\.good and by mine"):
        registry.register('good', 2, module='mine')


@pytest.mark.parametrize('name', ['good', 'two'])
def test_a_plugin_does_not_take_the_name_of_a_module_that_is_not_imported_yet(package, name):
    registry, _ = package
    registry.register(name, 2, module='mine')
    with pytest.raises(ConfigError, match=rf"'{name}' is registered twice: by mine and by plugs\."):
        registry.get(name)


def test_an_error_inside_a_plugin_surfaces_as_it_is(package):
    registry, folder = package
    (folder / 'broken.py').write_text('import no_such_module_anywhere\n')
    with pytest.raises(ModuleNotFoundError, match='no_such_module_anywhere'):
        registry.get('broken')


def test_an_installed_distribution_is_a_door(monkeypatch):
    registry = Registry('thing', entry_points='some.group')

    class Point:
        name, value, group = 'far', 'far_away', 'some.group'

        def load(self):
            registry.register('far', 42, module='far_away')

    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda group: [Point()] if group == 'some.group' else [])
    assert registry.get('far') == 42
    with pytest.raises(ConfigError, match='known: far; those of a plug-in need --plugin=FILE'):
        registry.get('near')


def test_a_plugin_file_is_loaded_once_and_recorded(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('VALUES = []\n')
    module = load_file(path)
    assert load_file(path) is module
    record = source_of(module.__name__)
    assert record['file'] == str(path.resolve())
    assert len(record['sha256']) == 64
    with pytest.raises(ConfigError, match='--plugin: no such file'):
        load_file(tmp_path / 'absent.py')


def test_code_of_a_notebook_has_no_file(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cells', types.ModuleType('cells'))
    assert source_of('cells') == {'module': 'cells', 'file': '', 'sha256': ''}


def test_the_case_of_a_name_does_not_hide_the_nearest_one():
    assert suggest('SQUEEZE', ['auto', 'squeeze']).startswith("did you mean 'squeeze'? ")
    assert suggest('lossd', ['LossD', 'auto']).startswith("did you mean 'LossD'? ")
