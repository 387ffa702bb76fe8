"""The sums of costs by phase, operator and place in the source."""

from __future__ import annotations

import collections
import sys
from pathlib import Path

import torch

from tests.support.fake_cuda.cost import Cost
from tests.support.fake_cuda.mode import Call
from tests.support.fake_cuda.rules import costs_of, size_of

OWN = f'{Path(__file__).resolve().parents[3]}/'
NOT_A_PLACE = (f'{Path(__file__).resolve().parent}/', f'{OWN}.venv/')


class Counter:
    """An observer of a `FakeCuda` mode.

    Attributes:
        phase: Name under which costs are counted.
        by_place: Whether costs are counted by place, too; that of a backward pass needs `set_detect_anomaly`.
        phases: Sums by phase.
        operators: Sums by phase and operator.
        places: Sums by phase, place and operator.
        waits: Copies for which the host waits, by place.
    """

    def __init__(self) -> None:
        self.phase = 'rest'
        self.by_place = False
        self.clear()

    def clear(self) -> None:
        """Forgets all sums."""
        self.phases: dict[str, Cost] = collections.defaultdict(Cost)
        self.operators: dict[tuple[str, str], Cost] = collections.defaultdict(Cost)
        self.places: dict[tuple[str, str, str], Cost] = collections.defaultdict(Cost)
        self.waits: collections.Counter[str] = collections.Counter()

    def on_call(self, call: Call) -> None:
        for name, cost in costs_of(call):
            self._add(name, cost)

    def on_copy(self, name: str, tensor: torch.Tensor, waits: bool) -> None:
        self._add(f'copy {name}', Cost(1, size_of(tensor), copies=1, waits=int(waits)))
        if waits:
            self.waits[current_place()] += 1

    def _add(self, name: str, cost: Cost) -> None:
        self.phases[self.phase].add(cost)
        self.operators[self.phase, name].add(cost)
        if self.by_place:
            self.places[self.phase, current_place(), name].add(cost)


def current_place() -> str:
    """Returns file and line of this repository: those of the forward pass for a node of autograd, if it knows them."""
    return _forward_place() or _caller() or 'unknown place'


def _forward_place() -> str | None:
    """Returns the place that made the node of autograd which is running; None without one or without its traceback."""
    found, node = None, torch._C._current_autograd_node()
    while node is not None:  # the outermost node that knows its place: a second derivative has parents
        for line in reversed(node.metadata.get('traceback_', [])):
            name, _, rest = line.lstrip().removeprefix('File "').partition('", line ')
            if name.startswith(OWN) and not name.startswith(NOT_A_PLACE):
                found = f'{name.removeprefix(OWN)}:{rest.split(",")[0]} backward'
                break
        node = node.metadata.get('parent_')
    return found


def _caller() -> str | None:
    """Returns the innermost place of the stack outside this folder."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OWN) and not name.startswith(NOT_A_PLACE):
            return f'{name.removeprefix(OWN)}:{frame.f_lineno}'
        frame = frame.f_back
    return None
