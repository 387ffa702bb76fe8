"""Tests of the choice and the settings of the compute device."""

import os
import re

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.conftest import ROOT
from torch_utils.devices import busy_cpu, deterministic_float32, excess_load, gpu_products, pick_device, prepare


@pytest.mark.parametrize(
    ('cuda', 'mps', 'kinds', 'expected'),
    [
        (False, False, ('cpu', 'cuda'), 'cpu'),
        (True, True, ('cpu', 'cuda'), 'cuda'),
        (False, True, ('cpu', 'cuda'), 'cpu'),
        (False, True, ('cpu', 'cuda', 'mps'), 'mps'),
    ],
)
def test_the_best_device_of_the_kinds_is_picked(monkeypatch, cuda, mps, kinds, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: mps)
    assert pick_device(None, kinds=kinds) == torch.device(expected)


def test_an_absent_or_unsupported_device_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='--device=cuda: PyTorch sees no such device here; use --device=cpu'):
        pick_device('cuda')
    with pytest.raises(ConfigError, match='--device=mps: choose cpu or cuda'):
        pick_device('mps')
    assert pick_device('cpu') == torch.device('cpu')


def test_a_deterministic_cpu_has_one_thread():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        prepare(torch.device('cpu'))
        assert torch.get_num_threads() == 2
        prepare(torch.device('cpu'), deterministic=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ('device', 'threads', 'load', 'is_busy'),
    [('cpu', 4, 8.1, True), ('cpu', 4, 8.0, False), ('cpu', 1, 99, False), ('cuda', 4, 99, False)],
)
def test_a_busy_machine_is_one_whose_load_exceeds_its_cores(monkeypatch, device, threads, load, is_busy):
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.setattr(os, 'getloadavg', lambda: (load, 0, 0))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    found = busy_cpu(torch.device(device))
    assert (found is not None) == is_busy
    if found is not None:
        fact, remedy = found
        assert fact == 'other processes keep the machine busy (load average 8.1, 8 cores)'
        assert 'as fast as 4' in remedy
        assert 'OMP_NUM_THREADS=1' in remedy


@pytest.mark.parametrize('error', [AttributeError, OSError])
def test_a_system_without_a_load_average_is_not_busy(monkeypatch, error):
    def getloadavg():
        raise error

    monkeypatch.setattr(os, 'getloadavg', getloadavg)
    assert excess_load() is None


def products():
    """Returns PyTorch's switches of the precision of float32 products."""
    return *gpu_products(), torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul


def settings():
    """Returns the precision of all float32 products, and cuDNN's choice of algorithms."""
    return [p.fp32_precision for p in products()], torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic


@pytest.fixture
def unchanged():
    """Restores the settings of PyTorch after a test."""
    before = settings()
    yield
    for product, precision in zip(products(), before[0], strict=True):
        product.fp32_precision = precision
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[1:]


def test_float32_on_a_gpu_is_ieee_unless_tf32_is_allowed(unchanged):
    cuda = torch.device('cuda')
    for product in gpu_products():
        product.fp32_precision = 'tf32'  # PyTorch's own default for convolutions
    prepare(torch.device('cpu'))
    assert {product.fp32_precision for product in gpu_products()} == {'tf32'}, 'a setting that no CPU reads'
    prepare(cuda)
    assert {product.fp32_precision for product in gpu_products()} == {'ieee'}
    prepare(cuda, allow_tf32=True)
    assert {product.fp32_precision for product in gpu_products()} == {'tf32'}


def test_settings_of_a_device_use_one_of_pytorchs_two_interfaces(unchanged):
    prepare(torch.device('cuda'), benchmark=True, allow_tf32=True)
    with deterministic_float32():
        assert not torch.backends.cuda.matmul.allow_tf32, 'raises where the older and the newer interface disagree'


def test_products_are_ieee_within_a_block_and_as_before_after_it_or_an_error(unchanged):
    torch.backends.mkldnn.matmul.fp32_precision = 'bf16'
    prepare(torch.device('cuda'), benchmark=True, allow_tf32=True)
    before = settings()
    with deterministic_float32():
        assert settings() == (['ieee'] * 5, False, True)
    assert settings() == before
    with pytest.raises(KeyError), deterministic_float32():
        raise KeyError
    assert settings() == before


def test_every_command_and_benchmark_that_picks_a_device_prepares_it():
    """Otherwise PyTorch's own defaults hold there: convolutions of float32 in TF32, so that numbers differ."""
    elsewhere = {'continuation.py', 'runs.py', 'processes.py'}  # choices that the trainer prepares, once it trains
    files = [file for folder in ('ganfoundry', 'bench') for file in (ROOT / folder).rglob('*.py')]
    picking = [file for file in files if re.search(r'\bpick_device\(', file.read_text())]
    assert elsewhere < {file.name for file in picking}
    unprepared = [file.name for file in picking if not re.search(r'(?<![\w.])prepare\(', file.read_text())]
    assert set(unprepared) == elsewhere
