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
