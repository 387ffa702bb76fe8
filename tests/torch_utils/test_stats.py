"""Tests of statistics: they are those of all values."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from torch_utils.stats import Collector


def test_statistics_are_those_of_all_values():
    collector, values = Collector(), np.random.RandomState(0).randn(7, 10)
    for row in values:
        collector.report('x', torch.from_numpy(row))
    restored = Collector()
    restored.load_state_dict(json.loads(json.dumps(collector.state_dict())))
    for stats in (collector.summary()['x'], restored.summary()['x']):
        assert stats['num'] == 70
        assert stats['mean'] == pytest.approx(values.mean(), rel=1e-12)
        assert stats['std'] == pytest.approx(values.std(), rel=1e-12)


def moments(x: torch.Tensor) -> list[float]:
    """Returns count, sum and sum of squares, each summed by itself."""
    x = x.flatten().double()
    return [float(x.numel()), x.sum().item(), x.square().sum().item()]


def test_reports_reduced_together_have_the_bits_of_each_alone():
    torch.manual_seed(0)
    collector = Collector()
    values = {f'{i}': torch.randn(size) for i, size in enumerate([(32, 1), (32, 1), (16,), (), (7, 3), (32,), (5,)])}
    for name, x in values.items():
        collector.report(name, x)
    collector.report('number', 0.5)
    collector.report_shared('flag', torch.tensor(True))
    expected = {name: moments(x) for name, x in values.items()} | {'number': [1.0, 0.5, 0.25], 'flag': [1.0, 1.0, 1.0]}
    assert collector.state_dict() == expected


def test_rows_of_any_number_of_processes_have_the_same_bits():
    torch.manual_seed(0)
    values = {name: torch.randn(4, 8) for name in 'abc'}  # micro-batches
    found = []
    for world in (1, 2, 4):
        collectors = [Collector() for _ in range(world)]
        for name, rows in values.items():
            for k, row in enumerate(rows):
                collectors[k * world // 4].report(name, row)
        rows = torch.stack([collector.take() for collector in collectors])
        for collector in collectors:
            collector.absorb(rows)
            found.append(collector.state_dict())
    assert all(state == found[0] for state in found)


def test_a_tensor_that_changes_after_its_report_counts_as_reported():
    collector, buffer = Collector(), torch.ones(3)
    collector.report('x', buffer)
    buffer.fill_(5)
    assert collector.summary()['x']['mean'] == 1
