"""CUDA graphs of functions on tensors at fixed addresses. Without a graph, the same functions run as they are.

A graph repeats the launches of a function without the host: it reads and writes the memory that the function used while
it was recorded. Its draws follow the device's generator as if the function ran.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from dnnlib.errors import first_line

WARM_UPS = 2  # runs before the recording, in which cuDNN tries its algorithms
TOLERANCE = 1e-2  # relative to the largest value, because atomic additions have no fixed order


class NotRecorded(Exception):
    """Functions that cannot be recorded, or whose graphs compute something else. The message says why."""


class Tape:
    """Functions without arguments that run in a fixed order, each as a graph of its own once they are recorded."""

    def __init__(
        self,
        functions: Sequence[Callable[[], None]],
        changed: Iterable[torch.Tensor],
        results: Callable[[], list[torch.Tensor]],
    ) -> None:
        """Keeps its arguments.

        Args:
            functions: Functions in their order; each works on tensors at fixed addresses.
            changed: Tensors that the functions may change in place, such as buffers and gradients.
            results: Returns further tensors that hold results after all functions have run.
        """
        self.functions = tuple(functions)
        self.changed = tuple(changed)
        self.results = results
        self.graphs: list[Any] = []
        self.moved: list[list[torch.Tensor]] = [[] for _ in self.functions]  # changed tensors, by function

    def run(self, index: int) -> None:
        """Runs a function, or its graph if there is one."""
        if not self.graphs:
            self.functions[index]()
            return
        self.graphs[index].replay()
        for tensor in self.moved[index]:
            torch.autograd.graph.increment_version(tensor)  # a replay does not

    def record(self, device: torch.device, pool: Any) -> None:
        """Records the graphs, and compares a replay with an ordinary run. Nothing has changed afterwards.

        Args:
            device: CUDA device.
            pool: Memory pool, shared with graphs that never run between the functions of this tape.

        Raises:
            NotRecorded: If a function cannot be recorded, or its graph gives other results.
        """
        before = [tensor.detach().clone() for tensor in self.changed]
        host, draws = torch.get_rng_state(), torch.cuda.get_rng_state(device)

        def restore() -> None:
            # The copy raises the version of a tensor. Results that are kept by version, such as prepared filters, are
            # then computed again within the graph, which would otherwise read memory that others may free.
            with torch.no_grad():
                for tensor, value in zip(self.changed, before, strict=True):
                    tensor.copy_(value)
            torch.cuda.set_rng_state(draws, device)

        try:
            expected = self._warm_up(device, restore)
            if not torch.equal(torch.get_rng_state(), host):
                raise NotRecorded('it draws random numbers on the host, which a graph would repeat')
            restore()
            self.graphs = [self._record(function, pool) for function in self.functions]
            restore()
            for index in range(len(self.functions)):
                self.run(index)
            self._compare(expected)
        except (RuntimeError, NotRecorded) as error:
            self.graphs = []
            raise NotRecorded(first_line(error)) from error
        finally:
            torch.set_rng_state(host)
            restore()

    def _warm_up(self, device: torch.device, restore: Callable[[], None]) -> list[torch.Tensor]:
        """Runs all functions some times on a stream of their own. Returns copies of the results of the last time."""
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                restore()
                for function, moved in zip(self.functions, self.moved, strict=True):
                    versions = [tensor._version for tensor in self.changed]
                    function()
                    pairs = zip(self.changed, versions, strict=True)
                    moved[:] = [tensor for tensor, version in pairs if tensor._version != version]
            found = [tensor.detach().clone() for tensor in (*self.changed, *self.results())]
        torch.cuda.current_stream(device).wait_stream(stream)
        return found

    @staticmethod
    def _record(function: Callable[[], None], pool: Any) -> Any:
        graph = torch.cuda.CUDAGraph()
        # Threads that load data may allocate pinned memory meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode='thread_local'):
            function()
        return graph

    def _compare(self, expected: list[torch.Tensor]) -> None:
        for tensor, value in zip((*self.changed, *self.results()), expected, strict=True):
            if value.numel() == 0 or not value.is_floating_point():
                continue
            difference, largest = (tensor - value).abs().max().item(), value.abs().max().item()
            if not difference <= TOLERANCE * largest:
                raise NotRecorded(f'its replay differs from its run by {difference:.2g} of {largest:.2g}')
