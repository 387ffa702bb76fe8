"""Choice of an operation's implementation: 'ref' in plain PyTorch, 'cpu' in C++, 'cuda'."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator

import torch

from dnnlib.errors import ConfigError
from torch_utils.ops.toolchain import build

IMPLS = ('auto', 'ref', 'cpu', 'cuda')
# Dtypes of the native implementations; the reference takes those of PyTorch. float64 serves checks of gradients.
DTYPES = {
    'cpu': (torch.float32, torch.bfloat16, torch.float64),
    'cuda': (torch.float32, torch.float16, torch.bfloat16),
}

# Cost of a whole training step in bfloat16 with the reference, relative to native operations; bench/RESULTS.md has the
# networks and the commands. No time was measured on a GPU.
REFERENCE_COST = {
    'cpu': 'a training step takes 1.1 times as long (measured)',
    'cuda': 'a training step makes 1.3 times as many launches and moves 1.5 times as many bytes (counted)',
}

_default = 'auto'


def pick(impl: str, x: torch.Tensor) -> str:
    """Returns the implementation for a tensor: 'ref', 'cpu' or 'cuda'.

    'auto' is the process's default, which is the fastest available one unless `set_default` changes it. The first
    choice for a device is reported once, in a line on stderr. The first call may build the native operations. Compiled
    graphs keep the choice made when they were traced. In `torch.export`, the fastest one is the reference: an exported
    graph has PyTorch's own operators only, and needs neither this package nor its build.

    Args:
        impl: 'auto', 'ref', 'cpu' or 'cuda'.
        x: Tensor whose device and dtype decide.

    Raises:
        ConfigError: If the name is unknown, or the implementation is not available for this device and dtype.
    """
    impl = _default if impl == 'auto' else impl
    if impl == 'auto' and torch.compiler.is_exporting():
        return 'ref'
    return _pick(impl, x.device.type, x.dtype)


def has_operators(x: torch.Tensor) -> bool:
    """Returns whether to use the operators of the native library that have no kernels of their own.

    They consist of PyTorch's operators, and so run on any device and take every dtype. A machine with a GPU needs a C++
    compiler for them, but no nvcc. As in `pick`, not while exporting, and not if the default is 'ref'.
    """
    if _default == 'ref' or (_default == 'auto' and torch.compiler.is_exporting()):
        return False
    return _has_operators(x.device.type)


def set_default(impl: str) -> None:
    """Sets the meaning of `impl='auto'` in this process; 'auto' is the fastest available implementation."""
    global _default
    if impl not in IMPLS:
        raise ConfigError(f'impl={impl!r}: choose {", ".join(IMPLS)}')
    if problem := _problem(impl) if impl in DTYPES else None:
        raise ConfigError(f"impl='{impl}': {problem}; or use impl='ref'")
    _default = impl


@contextlib.contextmanager
def default(impl: str) -> Iterator[None]:
    """Sets the default inside a `with` block, as `set_default` does."""
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


def _has_operators(device: str) -> bool:
    if device not in DTYPES:
        return False
    problem = _problem('cpu')
    if problem:
        _say_once(_instead(problem, device))
    return problem is None


# torch.compile must not trace into a build. This is torch.compiler.assume_constant_result without its import of 2 s.
_pick._dynamo_marked_constant = True  # type: ignore[attr-defined]
_has_operators._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _best(device: str, dtype: torch.dtype) -> str:
    if dtype not in DTYPES.get(device, ()):
        return 'ref'
    problem = _problem(device)
    _say_once(_instead(problem, device) if problem else f'native on {device}')
    return 'ref' if problem else device


def _instead(problem: str, device: str) -> str:
    return f'{problem}. The reference runs instead: {REFERENCE_COST[device]}'


def _problem(impl: str) -> str | None:
    """Returns why a native implementation is not available, with the way out; None if it is."""
    return (build.load_cuda() if impl == 'cuda' else build.load_cpu()).problem


@functools.cache
def _say_once(text: str) -> None:
    print(f'operations: {text}', file=sys.stderr, flush=True)
