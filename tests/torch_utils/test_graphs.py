"""Tapes of functions: what a recording leaves behind, and what it refuses."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch

from torch_utils.graphs import NotRecorded, Tape

CPU = torch.device('cpu')


class Work:
    """A function that moves a buffer and draws, at fixed addresses."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.x = torch.ones(3, device=device)
        self.still = torch.ones(2, device=device)
        self.moving = torch.zeros(3, device=device)
        self.result = torch.zeros(3, device=device)
        self.tape = Tape([self.move, self.draw], [self.moving, self.still], lambda: [self.result])

    def move(self) -> None:
        self.moving.add_(self.x)

    def draw(self) -> None:
        self.result.copy_(self.moving * 10 + torch.randn(3, device=self.x.device))


@pytest.fixture
def replayed(monkeypatch):
    """Records functions without CUDA: a graph calls its function."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda device: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, 'set_rng_state', lambda state, device: torch.manual_seed(3))
    monkeypatch.setattr(torch.cuda, 'Stream', lambda device: stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: stream)
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(Tape, '_record', staticmethod(lambda function, pool: SimpleNamespace(replay=function)))
    # On this device host and device share a generator.
    monkeypatch.setattr(torch, 'get_rng_state', lambda: torch.zeros(1))
    monkeypatch.setattr(torch, 'set_rng_state', lambda state: None)


def test_a_tape_runs_its_functions_until_they_are_recorded():
    work = Work()
    work.tape.run(0)
    work.tape.run(0)
    assert work.moving.tolist() == [2, 2, 2]


def test_a_recording_changes_nothing_and_its_replays_count_as_changes(replayed):
    work = Work()
    work.tape.record(CPU, None)
    assert work.moving.tolist() == [0, 0, 0]
    before = work.moving._version, work.still._version
    work.tape.run(0)
    assert work.moving.tolist() == [1, 1, 1]
    assert work.moving._version > before[0]
    assert work.still._version == before[1]


def test_a_replay_that_differs_is_refused_and_the_functions_run_as_before(replayed):
    work = Work()
    calls = []
    work.tape.functions = (work.move, lambda: calls.append(0) or work.result.fill_(len(calls)))
    with pytest.raises(NotRecorded, match='its replay differs from its run by 1 of 2'):
        work.tape.record(CPU, None)
    assert work.tape.graphs == []
    assert work.moving.tolist() == [0, 0, 0]


def test_draws_on_the_host_are_refused(replayed, monkeypatch):
    states = iter([torch.zeros(1), torch.ones(1)])
    monkeypatch.setattr(torch, 'get_rng_state', lambda: next(states))
    with pytest.raises(NotRecorded, match='random numbers on the host'):
        Work().tape.record(CPU, None)


@pytest.mark.gpu
def test_a_graph_draws_what_its_function_draws_after_the_same_seed():
    device = torch.device('cuda')
    work, other = Work(device), Work(device)
    work.tape.record(device, torch.cuda.graph_pool_handle())
    for seed in (1, 2):
        for tape in (work.tape, other.tape):
            torch.manual_seed(seed)
            tape.run(0)
            tape.run(1)
        assert torch.equal(work.result, other.result)
        assert torch.equal(work.moving, other.moving)
