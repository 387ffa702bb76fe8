"""Tests of the choice of an implementation: reported once; an unavailable one is rejected with the way out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.conftest import ROOT
from torch_utils.ops import dispatch
from torch_utils.ops.toolchain import build


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the native operations seem available, with nothing reported yet."""
    monkeypatch.setattr(build, 'load_cpu', lambda: build.Loaded(Path('ops.so')))
    dispatch._say_once.cache_clear()


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the native operations seem impossible to build."""
    monkeypatch.setattr(build, 'load_cpu', lambda: build.Loaded(problem='native operations cannot be built: no g++'))
    dispatch._say_once.cache_clear()


@pytest.mark.usefixtures('native')
def test_auto_takes_what_is_there_and_says_so_once(capsys: pytest.CaptureFixture):
    x = torch.zeros(2)
    assert [dispatch.pick('auto', x), dispatch.pick('auto', x.bfloat16())] == ['cpu', 'cpu']
    assert capsys.readouterr().err == 'operations: native on cpu\n'
    assert dispatch.pick('auto', x.half()) == 'ref'
    assert dispatch.pick('auto', x.to('meta')) == 'ref'
    assert dispatch.pick('ref', x) == 'ref'
    assert capsys.readouterr().err == ''


@pytest.mark.usefixtures('no_native')
def test_auto_without_native_operations_is_the_reference_and_says_why_once(capsys: pytest.CaptureFixture):
    x = torch.zeros(2)
    assert [dispatch.pick('auto', x) for _ in range(3)] == ['ref'] * 3
    said = capsys.readouterr().err
    begin = 'operations: native operations cannot be built: no g++. The reference runs instead: a training step takes '
    assert said.startswith(begin)
    assert said.count('\n') == 1


@pytest.mark.usefixtures('no_native')
def test_naming_an_absent_implementation_is_refused_with_the_way_out():
    x = torch.zeros(2)
    with pytest.raises(ConfigError, match=r"impl='cpu': .*no g\+\+; or leave impl at 'auto'"):
        dispatch.pick('cpu', x)
    with pytest.raises(ConfigError, match="impl='cuda': the tensor is on cpu; leave impl at 'auto'"):
        dispatch.pick('cuda', x)
    with pytest.raises(ConfigError, match=r"impl='cpu': does not compute in torch\.float16"):
        dispatch.pick('cpu', x.half())
    with pytest.raises(ConfigError, match="impl='fast': choose auto, ref, cpu, cuda"):
        dispatch.pick('fast', x)
    with pytest.raises(ConfigError, match=r"impl='cpu': .*no g\+\+"):
        dispatch.set_default('cpu')


@pytest.mark.usefixtures('native')
def test_the_default_of_a_process_can_be_set_and_returns():
    x = torch.zeros(2)
    with dispatch.default('ref'):
        assert dispatch.pick('auto', x) == 'ref'
        assert dispatch.pick('cpu', x) == 'cpu'
    assert dispatch.pick('auto', x) == 'cpu'
    with pytest.raises(ConfigError, match="impl='quick'"):
        dispatch.set_default('quick')


@pytest.mark.usefixtures('no_native')
def test_a_compiled_graph_does_not_break_on_the_choice():
    def choose(x: torch.Tensor) -> torch.Tensor:
        return x + (1 if dispatch.pick('auto', x) == 'ref' else 2)

    compiled = torch.compile(choose, backend='eager', fullgraph=True)
    assert compiled(torch.zeros(2)).tolist() == [1, 1]


@pytest.mark.usefixtures('native')
@pytest.mark.parametrize('strict', [True, False])
def test_an_exported_graph_takes_the_reference_unless_a_form_is_named(strict: bool):
    class Choose(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.tensor([ord(dispatch.pick(impl, x)[0]) for impl in ('auto', 'cpu', 'ref')])

    program = torch.export.export(Choose(), (torch.zeros(3),), strict=strict)
    assert ''.join(chr(int(n)) for n in program.module()(torch.zeros(3))) == 'rcr'  # ref, cpu, ref
    with dispatch.default('cpu'):
        program = torch.export.export(Choose(), (torch.zeros(3),), strict=strict)
    assert ''.join(chr(int(n)) for n in program.module()(torch.zeros(3))) == 'ccr'


@pytest.mark.slow
def test_with_no_compiler_operations_work_and_say_once_what_they_run_on(tmp_path: Path):
    script = (
        'import sys, torch; from torch_utils.ops.bias_act import bias_act; from torch_utils.ops.upfirdn2d import *\n'
        'print("imported", file=sys.stderr, flush=True)\n'
        'x, f = torch.ones(1, 2, 4, 4), setup_filter([1, 1])\n'
        'for _ in range(2): y = bias_act(upfirdn2d(x, f), act="lrelu", gain=1)\n'
        'print(y.sum().item())'
    )
    environment = {**os.environ, 'PATH': str(tmp_path), 'GANFOUNDRY_CACHE': str(tmp_path / 'cache')}
    done = subprocess.run(
        [sys.executable, '-c', script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == '18.0\n', done.stderr
    before, _, after = done.stderr.partition('imported\n')
    assert before == ''
    assert after.count('\n') == 1
    assert 'no g++ on the PATH' in after
    assert 'The reference runs instead' in after
    assert not (tmp_path / 'cache').exists()
