"""The package itself: it is imported in no time, its names resolve, and it finds its own `training`."""

import os
import subprocess
import sys

import pytest

import ganfoundry as gf
from tests.conftest import ROOT


def python(code, cwd, *paths):
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, [*paths, ROOT]))}
    return subprocess.run([sys.executable, '-c', code], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_importing_it_takes_a_tenth_of_a_second_and_loads_no_torch(tmp_path):
    code = (
        'import sys, time; begin = time.process_time(); import ganfoundry; '
        'print(time.process_time() - begin, "torch" in sys.modules, "numpy" in sys.modules)'
    )
    seconds, *loaded = min(python(code, tmp_path).stdout.split() for _ in range(3))
    assert float(seconds) < 0.1
    assert loaded == ['False', 'False']


def test_every_public_name_resolves():
    assert set(gf._MODULES) | {'recipes', '__version__'} == set(gf.__all__) <= set(dir(gf))
    for name, module in gf._MODULES.items():
        assert getattr(gf, name) is getattr(sys.modules[module], name)
    assert gf.recipes.auto
    with pytest.raises(AttributeError, match='nothing_like_it'):
        gf.nothing_like_it  # noqa: B018


def test_another_package_of_the_name_training_is_refused_with_both_paths(tmp_path):
    (tmp_path / 'training').mkdir()
    (tmp_path / 'training' / '__init__.py').touch()
    done = python('import ganfoundry', tmp_path, tmp_path)
    assert done.returncode == 1
    assert f'ImportError: ganfoundry needs its own package `training` in {ROOT / "training"}' in done.stderr
    assert f'finds {tmp_path / "training"} first' in done.stderr
