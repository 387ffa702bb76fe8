"""Inputs and outputs of modules while a network runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module.

    inputs: its positional arguments.
    output: what it returned.
    """

    inputs: tuple[Any, ...]
    output: Any


@contextlib.contextmanager
def tapped(modules: Mapping[str, torch.nn.Module]) -> Iterator[dict[str, Call]]:
    """Records the last call of each module within the context, in the order of the calls.

    Args:
        modules: The modules by the names under which they are recorded.
    """
    calls: dict[str, Call] = {}

    def recorder(name: str) -> Any:
        def record(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls.pop(name, None)  # the order is that of the last calls
            calls[name] = Call(inputs, output)

        return record

    handles = [module.register_forward_hook(recorder(name)) for name, module in modules.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def instances(net: torch.nn.Module, kind: type[torch.nn.Module] | tuple[type[torch.nn.Module], ...]) -> dict[str, Any]:
    """Returns the modules of a class in a network, by name."""
    return {name: module for name, module in net.named_modules() if isinstance(module, kind)}
