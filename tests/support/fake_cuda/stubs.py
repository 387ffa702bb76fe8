"""Stand-ins for what needs a driver or weights that are not here."""

from __future__ import annotations

import functools
import warnings
from typing import NoReturn

import torch

from metrics.detectors.lpips import LpipsAlex
from tests.support.fake_cuda.mode import HostWait
from torch_utils.graphs import Tape
from torch_utils.ops.toolchain import build as native
from training.objective.glead import GLeaD


class Event:
    """Stand-in for torch.cuda.Event: what was recorded before the current step has happened.

    Attributes:
        step: Number of the current step.
    """

    step = 0

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._recorded = -1

    def record(self, *args: object) -> None:
        """Records the current step."""
        self._recorded = Event.step

    def wait(self, *args: object) -> None:
        """Does nothing: a stream waits, not the host."""

    def query(self) -> bool:
        """Returns whether the device has reached the event."""
        return self._recorded < Event.step

    def synchronize(self) -> None:
        """Raises HostWait if the host would wait."""
        if not self.query():
            raise HostWait('an event of the same step')

    def elapsed_time(self, other: Event) -> float:
        """Returns a duration in milliseconds."""
        return 1.0


def synchronize(*args: object) -> NoReturn:
    """Raises: the host would wait."""
    raise HostWait('the device')


def prepare() -> None:
    """Replaces everything that needs a driver, once per process."""
    warnings.filterwarnings('ignore', message='Accessing the data pointer of FakeTensor')
    torch.set_num_threads(1)
    if problem := native.load_cpu().problem:
        raise RuntimeError(problem)  # the reference is another computation
    native.load_cuda = native.load_cpu  # schemas, shapes and gradients are those of the CPU library
    torch.cuda.Event = Event  # type: ignore[misc, assignment]
    torch.cuda.synchronize = synchronize  # type: ignore[assignment]
    torch.cuda.graph_pool_handle = lambda: (0, 0)  # type: ignore[assignment]
    Tape.record = lambda self, device, pool: None  # type: ignore[method-assign]  # the functions run as they are
    LpipsAlex.available = classmethod(lambda cls: True)  # type: ignore[assignment, method-assign]
    GLeaD.lpips = functools.cached_property(lambda term: LpipsAlex.random(term.device))  # type: ignore[assignment]
    GLeaD.lpips.__set_name__(GLeaD, 'lpips')
