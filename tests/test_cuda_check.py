"""The CUDA check reads the compiler's report rightly, fails on a warning, and asks for nothing where nvcc is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from torch_utils.ops import cuda_check
from torch_utils.ops.cuda_check import Usage

needs_nvcc = pytest.mark.skipif(shutil.which('nvcc') is None, reason='needs nvcc')

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5scaleIfEvPT_' for 'sm_75'
ptxas info    : Function properties for _Z5scaleIfEvPT_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers, 360 bytes cmem[0]
ptxas info    : Compiling entry function '_Z5scaleIfEvPT_' for 'sm_90a'
ptxas info    : Function properties for _Z5scaleIfEvPT_
    64 bytes stack frame, 48 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
"""


def test_registers_and_spills_are_read_per_kernel_and_architecture():
    table = cuda_check.parse_usage(LOG)
    assert table == {'_Z5scaleIfEvPT_': {'75': Usage(10, 0), '90': Usage(255, 64, 64)}}
    header, row = cuda_check.format_table(table, ['75', '80', '90']).splitlines()
    assert header.split()[-3:] == ['sm_75', 'sm_80', 'sm_90']
    assert row.split()[-4:] == ['10', '-', '255', '+64B']


def test_names_are_those_of_the_kernels():
    wrapped = '_ZN10ganfoundry6kernelINS_13GeneralKernelINS_8bfloat16ELi1EEEEEvT_'
    assert cuda_check.demangle([wrapped, '_Z5scalePf']) == ['GeneralKernel<bfloat16, 1>', 'scale(float*)']


def test_no_nvcc_is_said_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(cuda_check, 'find_nvcc', lambda: None)
    assert cuda_check.check() == 0
    assert 'no nvcc on the PATH' in capsys.readouterr().out


@needs_nvcc
def test_a_kernel_compiles_and_a_warning_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture):  # fmt: skip
    monkeypatch.setattr(cuda_check, 'ARCHITECTURES', ('90', '999'))
    kernel = '__global__ void twice(float* x) { %s x[threadIdx.x] *= 2; }\n'
    (tmp_path / 'fine.cu').write_text(kernel % '')
    (tmp_path / 'unused.cu').write_text(kernel % 'int never_read = 1;')
    indexed = 'float y[64] = {}; for (int i = 0; i < 64; ++i) y[int(x[i]) % 64] += i; x[0] = y[int(x[9])];'
    (tmp_path / 'local.cu').write_text(kernel % indexed)
    assert cuda_check.check(tmp_path) == 2
    said = capsys.readouterr().out
    assert 'does not know sm_999; left out' in said
    assert 'fine.cu: compiles' in said
    assert 'twice(float*)' in said
    assert 'unused.cu: does not compile' in said
    assert 'local.cu: keeps numbers in local memory' in said
    assert 'never_read' in said
