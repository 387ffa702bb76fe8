"""The mode in which the CPU is real and 'cuda' is fake, and in which the host must not wait for the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class HostWait(RuntimeError):
    """A place where the host would wait for the device."""

    def __init__(self, cause: str) -> None:
        super().__init__(f'the host waits for {cause}')


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator that reaches the device.

    Attributes:
        func: Operator.
        args: Positional arguments.
        kwargs: Named arguments.
        inputs: Tensors on the device among the arguments.
        outputs: Tensors on the device among the results.
        result: Whole result.
    """

    func: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]
    result: Any

    @property
    def name(self) -> str:
        """The name, such as 'aten.mul.Tensor'; the default overload has no suffix."""
        return str(self.func).removesuffix('.default')


class Observer(Protocol):
    """A receiver of everything that reaches the device."""

    def on_call(self, call: Call) -> None:
        """Receives a call of an operator."""

    def on_copy(self, name: str, tensor: torch.Tensor, waits: bool) -> None:
        """Receives a copy between host and device, 'to the host' or 'to the device'."""


class FakeCuda(FakeTensorMode):
    """A FakeTensorMode that leaves the CPU real, so that what the host draws has values.

    Operations on tensors of two devices raise, and so does reading a number of the device.

    Attributes:
        strict: Whether a copy for which the host waits raises, too.
    """

    def __init__(self, observer: Observer | None = None) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.strict = False
        self._observer = observer
        self._inside = False

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if self._inside:  # a call that a fake operation makes
            return super().__torch_dispatch__(func, types, args, kwargs)
        if kwargs.get('pin_memory'):
            kwargs['pin_memory'] = False
        leaves = tree_leaves((args, kwargs))
        target = next((x for x in leaves if isinstance(x, torch.device)), None)
        if not any(isinstance(x, FakeTensor) for x in leaves) and (target is None or target.type != 'cuda'):
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default and is_on_device(args[0]):
            raise HostWait('a number of the device')
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            self._copy('to the host', args[1], kwargs.get('non_blocking') or (len(args) > 2 and args[2]))
            return args[0].fill_(1)
        self._inside = True
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._inside = False
        inputs = [x for x in leaves if is_on_device(x)]
        outputs = [x for x in tree_leaves(result) if is_on_device(x)]
        self._report(Call(func, args, kwargs, inputs, outputs, result), leaves, target)
        return result

    def _report(self, call: Call, leaves: list[Any], target: torch.device | None) -> None:
        """Reports a call as a copy between host and device, or as an operator."""
        non_blocking = call.kwargs.get('non_blocking')
        if call.func is aten.copy_.default:
            non_blocking = non_blocking or (len(call.args) > 2 and call.args[2])
        if call.outputs and reads_host(call, leaves):
            self._copy('to the device', call.outputs[0], non_blocking)
        elif target is not None and target.type == 'cpu' and call.inputs:
            self._copy('to the host', call.inputs[0], non_blocking)
        elif self._observer is not None and (call.inputs or call.outputs):
            self._observer.on_call(call)

    def _copy(self, name: str, tensor: torch.Tensor, non_blocking: object) -> None:
        """Reports a copy, unless it is empty; raises HostWait in strict mode if the host waits for it."""
        if tensor.numel() == 0:
            return
        if self.strict and not non_blocking:
            raise HostWait(f'a copy {name}')
        if self._observer is not None:
            self._observer.on_copy(name, tensor, waits=not non_blocking)


def is_on_device(x: object) -> bool:
    """Returns whether a value is a fake tensor on 'cuda'."""
    return isinstance(x, FakeTensor) and x.fake_device.type == 'cuda'


def reads_host(call: Call, leaves: list[Any]) -> bool:
    """Returns whether a call takes numbers of the host to the device; a number without dimensions is an argument."""
    if '_like' in call.name or call.name.startswith('aten.new_'):
        return False  # takes shape and dtype only
    real = [x for x in leaves if isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)]
    return any(x.ndim for x in real) or (bool(real) and call.func is aten._to_copy.default)
