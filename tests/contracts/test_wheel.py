"""The wheel: built without network, installed into a fresh environment, used in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import ganfoundry
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PACKAGES = ('dnnlib', 'extensions', 'ganfoundry', 'metrics', 'torch_utils', 'training')
PROJECT = ('pyproject.toml', 'README.md', 'LICENSE')
# Sixteen steps of four images on each of two processes, two ticks.
TINY = ('--resolution=16', '--cbase=192', '--cmax=16', '--kimg=1', '--batch=64', '--batch-gpu=4', '--tick=0.5',
        '--metrics=none', '--workers=0', '--device=cpu', '--gpus=2', '--set=grid_images=16')  # fmt: skip


def run(args: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command outside the checkout; its output is in the error when it fails."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    env |= {'OMP_NUM_THREADS': '1', 'PIP_DISABLE_PIP_VERSION_CHECK': '1'}
    done = subprocess.run(args, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def files_of(folder: Path) -> set[str]:
    """Returns the files of the packages under a folder."""
    found = (path for package in PACKAGES for path in (folder / package).rglob('*') if path.is_file())
    return {str(path.relative_to(folder)) for path in found if '__pycache__' not in path.parts}


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: setuptools leaves its folders there."""
    source, dist = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('dist')
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns('__pycache__'))
    for name in PROJECT:
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '--no-index']
    run([*pip, f'--wheel-dir={dist}', str(source)], source)
    (path,) = dist.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel; torch and the like are those of the present one.

    A .pth line adds their folder to the path without the .pth files in it, hence without an editable installation.
    """
    folder = tmp_path_factory.mktemp('venv')
    run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], folder)
    python = folder / 'bin' / 'python'
    (site,) = folder.glob('lib/python*/site-packages')
    run([sys.executable, '-m', 'pip', f'--python={python}', 'install', '--no-deps', '--no-index', str(wheel)], folder)
    (site / 'dependencies.pth').write_text(f'{Path(torch.__file__).parent.parent}\n')
    return folder / 'bin'


@pytest.fixture(scope='module')
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it."""
    return tmp_path_factory.mktemp('empty')


@pytest.fixture(scope='module')
def trained(bin_folder: Path, empty: Path) -> Path:
    """The folder of a run of the console script in two processes, on the embedded images."""
    done = run([str(bin_folder / 'ganfoundry'), 'train', '--cfg=squeeze', *TINY], empty)
    (folder,) = (empty / 'runs').glob('0*')
    assert f'done: {Path("runs") / folder.name}' in done.stdout
    return folder


def test_the_wheel_holds_every_file_of_the_six_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if '.dist-info/' not in name}
    assert names == files_of(ROOT)
    assert {name.partition('/')[0] for name in names} == set(PACKAGES)


def test_the_version_has_one_source(wheel: Path, bin_folder: Path, empty: Path) -> None:
    assert wheel.name.split('-')[:2] == ['ganfoundry', ganfoundry.__version__]
    done = run([str(bin_folder / 'ganfoundry'), '--version'], empty)
    assert done.stdout == f'ganfoundry {ganfoundry.__version__}\n'


@pytest.mark.parametrize('flags', [['-n', '--cbase=256'], ['--cfg=squeeze', '--dry-run', '--cbase=256']], ids=' '.join)
def test_a_plan_is_made_from_the_embedded_images(bin_folder: Path, tmp_path: Path, flags: list[str]) -> None:
    done = run([str(bin_folder / 'ganfoundry'), 'train', *flags], tmp_path)
    assert 'of 64x64' in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_run_trains_in_two_processes_from_the_installed_files(bin_folder: Path, trained: Path) -> None:
    record = json.loads((trained / 'config.json').read_text())
    assert record['config']['gpus'] == 2
    assert record['argv'][0] == str(bin_folder / 'ganfoundry')
    assert Path(record['plugin']['file']).is_relative_to(bin_folder.parent)
    assert len((trained / 'stats.jsonl').read_text().splitlines()) >= 2


def test_the_python_interface_draws_what_the_command_draws(bin_folder: Path, empty: Path, trained: Path) -> None:
    snapshot = max(trained.glob('*.safetensors'))
    code = (
        f'import ganfoundry; G = ganfoundry.load({str(snapshot)!r}, device="cpu"); images = G.images(seeds=range(4)); '
        'print(images.shape); import numpy; numpy.save("images.npy", images)'
    )
    assert run([str(bin_folder / 'python'), '-c', code], empty).stdout == '(4, 16, 16, 3)\n'
    run([str(bin_folder / 'ganfoundry'), 'generate', f'--network={trained}', '--seeds=0-3', '--device=cpu'], empty)
    drawn = [np.asarray(PIL.Image.open(empty / 'out' / f'seed{seed:04d}.png')) for seed in range(4)]
    assert np.array_equal(np.load(empty / 'images.npy'), drawn)


def test_the_module_and_the_doctor_answer(bin_folder: Path, empty: Path) -> None:
    done = run([str(bin_folder / 'python'), '-m', 'ganfoundry', 'doctor'], empty)
    assert f'in {next(bin_folder.parent.glob("lib/*/site-packages"))}' in done.stdout  # the embedded data
    assert '!!  data' not in done.stdout
