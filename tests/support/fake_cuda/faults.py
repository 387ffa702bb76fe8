"""Planted faults, each of which must raise an error on fake CUDA tensors."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch

from tests.support.fake_cuda.cases import SMALL, Case, run
from tests.support.fake_cuda.mode import FakeCuda

OPERATIONS: dict[str, Callable[[torch.Tensor], object]] = {
    'reads a number': lambda x: x.sum().item(),
    'reads a list': lambda x: x.tolist(),
    'asks for a truth': lambda x: bool(x.any()),
    'copies to the host': lambda x: x.cpu(),
    'copies to the device': lambda x: torch.zeros(3).to('cuda'),
    'makes a tensor of numbers of the host': lambda x: torch.tensor([1.0, 2.0], device='cuda'),
    'takes indices of the host': lambda x: x[torch.tensor([0, 1])],
    'writes a tensor of the host': lambda x: x.copy_(torch.zeros(3)),
    'has a shape that depends on numbers': lambda x: x[x > 0],
    'inverts a matrix with a check': lambda x: torch.linalg.inv(x.diag()),
    'mixes devices': lambda x: x + torch.zeros(3),
}
HARMLESS: dict[str, Callable[[torch.Tensor], object]] = {
    'computes': lambda x: (x * 2).sum(),
    'copies to the host without waiting': lambda x: x.to('cpu', non_blocking=True),
    'copies to the device without waiting': lambda x: torch.zeros(3).to('cuda', non_blocking=True),
    'takes a number of the host': lambda x: x * torch.tensor(2.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in the code of the project.

    Attributes:
        target: Function that is replaced, 'module:function'.
        faulty: Function of the original one that returns its replacement.
    """

    target: str
    faulty: Callable[[Callable[..., Any]], Callable[..., Any]]


def before(action: Callable[..., object]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a wrapper of functions that calls `action` with their arguments first."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*args: Any, **kwargs: Any) -> Any:
            action(*args, **kwargs)
            return original(*args, **kwargs)

        return faulty

    return wrap


FAULTS = {
    'a tensor of the CPU in the pipe': Fault(
        'training.augment.geometric:places', lambda original: lambda *args: original(*args).to('cpu', non_blocking=True)
    ),
    'noise drawn on the CPU': Fault(
        'training.fakes:Fakes.z', lambda original: lambda fakes, n: torch.randn(n, fakes.state.G.z_dim)
    ),
    'a bool() of the device in the guarded step': Fault(
        'training.step:guarded_step', before(lambda optimizer, packed, *args, **kwargs: bool(packed.isfinite().all()))
    ),
    'a wait for the device before the average': Fault(
        'training.step:update_ema', before(lambda *args: torch.cuda.synchronize())
    ),
    'a copy that waits': Fault('training.step:from_pixels', before(lambda img: img.cpu())),
    'a wait for an event of the same step': Fault(
        'training.step:update_ema', before(lambda *args: wait_for_a_new_event())
    ),
}


def wait_for_a_new_event() -> None:
    """Waits for everything that the device was given."""
    event = torch.cuda.Event()
    event.record()
    event.synchronize()


def run_with(fault: Fault) -> None:
    """Runs a training step with a fault in it."""
    module, _, path = fault.target.partition(':')
    *parts, name = path.split('.')
    owner = functools.reduce(getattr, parts, importlib.import_module(module))
    with mock.patch.object(owner, name, fault.faulty(getattr(owner, name))):
        run(Case(cfg=SMALL, sets={'aug.pipe': 'bgc'}))


def operate(operation: Callable[[torch.Tensor], object]) -> None:
    """Runs an operation on a tensor [3] of the device."""
    with FakeCuda(strict=True):
        operation(torch.zeros(3, device='cuda'))


def delay_autograd() -> None:
    """Runs a backward pass whose thread gets the interpreter's lock, and releases the mode, a second later."""
    with FakeCuda():
        x = torch.zeros(3, device='cuda', requires_grad=True)
        loss = x.square().sum()
        sys.setswitchinterval(1)
        loss.backward()
