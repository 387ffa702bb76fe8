"""The mode in which the CPU is real and 'cuda' is fake, and in which the host must not wait for the device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

aten = torch.ops.aten

# The host waits for their results on every device.
WAITING = (aten._linalg_check_errors.default, aten._linalg_svd.default, aten._linalg_eigh.default)


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

    Operations on tensors of two devices raise an error.

    Attributes:
        strict: Whether everything for which the host waits raises HostWait. Otherwise copies that wait pass, and a
            number of the device reads as `number`.
        number: That number; None: reading raises in any case.
    """

    def __init__(self, observer: Observer | None = None, *, strict: bool = False, number: int | None = None) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.strict, self.number = strict, number
        self._observer = observer
        self._inside = False

    def __torch_dispatch__(self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if self._inside:  # a call that a fake operation makes
            return super().__torch_dispatch__(func, types, args, kwargs)
        if kwargs.get('pin_memory'):
            kwargs['pin_memory'] = False
        leaves = leaves_of((*args, *kwargs.values()))
        target = next((x for x in leaves if isinstance(x, torch.device)), None)
        if not any(isinstance(x, FakeTensor) for x in leaves) and (target is None or target.type != 'cuda'):
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default and is_on_device(args[0]):
            return self._read(args[0])
        if func in WAITING and self.strict:
            raise HostWait(f'{func}')
        if func is aten.copy_.default and not isinstance(args[0], FakeTensor):
            self._copy('to the host', args[1], kwargs.get('non_blocking') or (len(args) > 2 and args[2]))
            return args[0].fill_(1)
        self._inside = True
        try:
            result = super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._inside = False
        inputs = [x for x in leaves if is_on_device(x)]
        outputs = [x for x in leaves_of((result,)) if is_on_device(x)]
        self._report(Call(func, args, kwargs, inputs, outputs, result), leaves, target)
        if isinstance(result, FakeTensor) and result.fake_device.type == 'cpu':
            return torch.empty_strided(result.shape, result.stride(), dtype=result.dtype).fill_(1)
        return result

    def _read(self, tensor: torch.Tensor) -> bool | float:
        """Returns the number that reading a tensor without dimensions gives."""
        if self.strict or self.number is None:
            raise HostWait('a number of the device')
        value: bool | float = torch.tensor(self.number, dtype=tensor.dtype).item()
        return value

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


def leaves_of(values: Iterable[Any]) -> list[Any]:
    """Returns values, with the members of lists and tuples in their place."""
    leaves: list[Any] = []
    for value in values:
        if isinstance(value, (list, tuple)):
            leaves += leaves_of(value)
        else:
            leaves.append(value)
    return leaves


def is_on_device(x: object) -> bool:
    """Returns whether a value is a fake tensor on 'cuda'."""
    return isinstance(x, FakeTensor) and x.fake_device.type == 'cuda'


def reads_host(call: Call, leaves: list[Any]) -> bool:
    """Returns whether a call takes numbers of the host to the device; a number without dimensions is an argument."""
    if '_like' in call.name or call.name.startswith('aten.new_'):
        return False  # takes shape and dtype only
    real = [x for x in leaves if isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)]
    return any(x.ndim for x in real) or (bool(real) and call.func is aten._to_copy.default)
