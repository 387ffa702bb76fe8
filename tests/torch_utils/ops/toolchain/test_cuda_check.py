"""Tests of the CUDA check: it parses the compiler's report, fails on a warning, and succeeds without nvcc."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from torch_utils.ops.toolchain import cuda_check, nvcc
from torch_utils.ops.toolchain.cuda_check import Usage

needs_nvcc = pytest.mark.skipif(nvcc.find_nvcc() is None, reason='needs nvcc, which is not found here')

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
    assert cuda_check.check_sources() == 0
    assert 'there is no nvcc, nothing compiled; pip install "ganfoundry[cuda]"' in capsys.readouterr().out


@needs_nvcc
def test_a_kernel_compiles_and_a_warning_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture):  # fmt: skip
    monkeypatch.setattr(cuda_check, 'ARCHITECTURES', ('90', '999'))
    kernel = '__global__ void twice(float* x) { %s x[threadIdx.x] *= 2; }\n'
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'fine.cu').write_text(kernel % '')
    (tmp_path / 'unused.cu').write_text(kernel % 'int never_read = 1;')
    indexed = 'float y[64] = {}; for (int i = 0; i < 64; ++i) y[int(x[i]) % 64] += i; x[0] = y[int(x[9])];'
    (tmp_path / 'local.cu').write_text(kernel % indexed)
    assert cuda_check.check_sources(tmp_path) == 2
    said = capsys.readouterr().out
    assert 'does not know sm_999; left out' in said
    assert 'fine.cu: compiles' in said
    assert 'twice(float*)' in said
    assert 'unused.cu: does not compile' in said
    assert 'local.cu: keeps numbers in local memory' in said
    assert 'never_read' in said


@pytest.mark.slow
@needs_nvcc
@pytest.mark.parametrize(
    ('source', 'kernels', 'plain_loads'),
    [
        ('upfirdn2d', 'ChannelsLastKernel', {'ld.global.f32'}),  # filter
        ('upfirdn2d', 'PlanarKernel.*ELb1', {'ld.global.f32', 'ld.global.nc.v2.u32'}),  # up 2 reads half as much
        ('bias_act', 'BiasActKernel.*Li[48]', {'ld.global.f32'}),  # bias
        ('bias_act', 'BiasActGradKernel.*Li[48]', set()),
    ],
)
def test_packs_are_moved_by_instructions_of_128_bits(source: str, kernels: str, plain_loads: set, ptx: dict):
    """All loads of images and all stores, except at the rim of images whose rows are not whole packs."""
    chosen = {name: used for name, used in ptx[source].items() if re.search(kernels, name)}
    assert len(chosen) in (3, 9)
    for name, used in chosen.items():
        assert {op for op in used if op.startswith('ld.global')} - plain_loads <= {'ld.global.nc.v4.u32'}, name
        assert 'st.global.wb.v4.u32' in used, name
        assert not any(op.startswith('st.global.wb') and 'v4' not in op for op in used), name
        assert not any('.local' in op for op in used), name


@pytest.fixture(scope='module')
def ptx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, set[str]]]:
    """Loads and stores by source and mangled kernel."""
    found: dict[str, dict[str, set[str]]] = {}
    for source in ('bias_act', 'upfirdn2d'):
        output = tmp_path_factory.mktemp('ptx') / source
        flags = [*nvcc.NVCC_FLAGS, '-arch=sm_90', '--ptx', f'-I{cuda_check.CSRC}']
        path = cuda_check.CSRC / source / f'{source}.cu'
        subprocess.run([nvcc.find_nvcc(), *flags, path, '-o', output], check=True)
        entries = re.split(r'\.entry (\S+)\(', output.read_text())[1:]
        found[source] = {
            name: set(re.findall(r'\b(?:ld|st)\.(?:global|local)[.\w]*', body))
            for name, body in zip(entries[::2], entries[1::2], strict=True)
        }
    return found
