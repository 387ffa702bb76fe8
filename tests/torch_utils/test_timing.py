"""Tests of the phase timer on CPUs."""

import time

import torch

from torch_utils.timing import PhaseTimer


def test_executions_and_seconds_are_summed_by_name_until_they_are_read(monkeypatch):
    ticks = iter([0.0, 1.5, 10.0, 10.5, 20.0, 22.0])
    monkeypatch.setattr(time, 'perf_counter', lambda: next(ticks))
    timer = PhaseTimer(torch.device('cpu'))
    for name in ('Gmain', 'Gmain', 'Dmain'):
        with timer(name):
            pass
    assert timer.read() == {'Gmain': (2, 2.0), 'Dmain': (1, 2.0)}
    assert timer.read() == {}
