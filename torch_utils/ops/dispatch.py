"""Which implementation of an operation runs: 'ref' in plain PyTorch, 'cpu' in C++, 'cuda'."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator

import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.toolchain import build

IMPLS = ('auto', 'ref', 'cpu', 'cuda')
# What the native implementations take; the reference takes what PyTorch does. float64 is for checks of gradients.
DTYPES = {
    'cpu': (torch.float32, torch.bfloat16, torch.float64),
    'cuda': (torch.float32, torch.float16, torch.bfloat16),
}

_default = 'auto'


def pick(impl: str, x: torch.Tensor) -> str:
    """'ref', 'cpu' or 'cuda': what `impl` means for a tensor of this device and dtype.

    'auto' is the process's default, which is the fastest that is there unless `set_default` says otherwise. The first
    choice for a device is said once, in a line on stderr. The first call may build the native operations. Compiled and
    exported graphs keep the choice that was made when they were traced.

    Raises:
        ConfigError: an unknown name, or an implementation that is not there for this device and dtype.
    """
    return _pick(_default if impl == 'auto' else impl, x.device.type, x.dtype)


def set_default(impl: str) -> None:
    """What `impl='auto'` means from now on in this process; 'auto' is the fastest that is there."""
    global _default
    if impl not in IMPLS:
        raise ConfigError(f'impl={impl!r}: choose {", ".join(IMPLS)}')
    if problem := _problem(impl) if impl in DTYPES else None:
        raise ConfigError(f"impl='{impl}': {problem}; or use impl='ref'")
    _default = impl


@contextlib.contextmanager
def default(impl: str) -> Iterator[None]:
    """Like `set_default`, for as long as the body runs."""
    before = _default
    set_default(impl)
    try:
        yield
    finally:
        set_default(before)


def _pick(impl: str, device: str, dtype: torch.dtype) -> str:
    if impl == 'auto':
        return _best(device, dtype)
    if impl not in IMPLS:
        raise ConfigError(f'impl={impl!r}: choose {", ".join(IMPLS)}')
    if impl == 'ref':
        return impl
    way_out = "leave impl at 'auto', which then takes the reference"
    if device != impl:
        raise ConfigError(f"impl='{impl}': the tensor is on {device}; {way_out}")
    if dtype not in DTYPES[impl]:
        raise ConfigError(f"impl='{impl}': does not compute in {dtype}; {way_out}")
    if problem := _problem(impl):
        raise ConfigError(f"impl='{impl}': {problem}; or {way_out}")
    return impl


# torch.compile must not trace into a build. This is torch.compiler.assume_constant_result, less its import of 2 s.
_pick._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _best(device: str, dtype: torch.dtype) -> str:
    if dtype not in DTYPES.get(device, ()):
        return 'ref'
    problem = _problem(device)
    _say_once(f'{problem}. The reference runs instead, slower' if problem else f'native on {device}')
    return 'ref' if problem else device


def _problem(impl: str) -> str | None:
    """Why a native implementation is not there, with the way out; None where it is."""
    return (build.load_cuda() if impl == 'cuda' else build.load()).problem


@functools.cache
def _say_once(text: str) -> None:
    print(f'operations: {text}', file=sys.stderr, flush=True)
