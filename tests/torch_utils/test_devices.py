"""Tests of the choice and the settings of the compute device."""

import pytest
import torch

from dnnlib.errors import ConfigError
from torch_utils.devices import pick_device, prepare


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
