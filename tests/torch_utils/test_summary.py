"""Tests of the table of a network's parameters and buffers."""

import torch

from torch_utils.summary import count, module_table


def test_every_module_with_tensors_has_a_row_and_the_total_adds_up():
    with torch.device('meta'):  # nothing is allocated
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    assert count(net) == (3 * 4 + 4 + 4 + 4, 4 + 4 + 1)
    header, rule, linear, norm, _, total = module_table(net, 'net').splitlines()
    assert header.split()[:3] == ['net', 'parameters', 'buffers']
    assert set(rule) == {'-'}
    assert linear.split() == ['0', '16', '0', '[4,', '3]']
    assert norm.split() == ['2', '8', '9', '[4]']
    assert total.split() == ['total', '24', '9']
