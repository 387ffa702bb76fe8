"""Statistics of training, accumulated on the device and read once per tick."""

from __future__ import annotations

import math

import torch


class Collector:
    """Accumulates count, sum and sum of squares by name, in float64, without synchronizing with the host.

    The moments are part of a run's state: a run resumed in the middle of a tick reports the whole tick. Reports of
    micro-batches are kept separately until the end of the step (`take`, `absorb`): then the processes exchange them,
    and each process adds the same rows in the order of the micro-batches.

    Letters: R reports of this process in a step, W processes.
    """

    def __init__(self) -> None:
        self._moments: dict[str, torch.Tensor] = {}
        self._fresh: dict[str, list[torch.Tensor]] = {}  # this step's reports, in the order of micro-batches
        self._taken: dict[str, int] = {}  # number of rows per name in the last result of `take`

    def report(self, name: str, values: torch.Tensor | float) -> None:
        """Adds every element of `values` (any shape, detached here) to the statistics of `name`.

        For values of the process's own micro-batches; every process must report the same names.
        """
        self._fresh.setdefault(name, []).append(_moments_of(values))

    def report_shared(self, name: str, values: torch.Tensor | float) -> None:
        """Adds values that are equal in all processes and count once; otherwise like `report`."""
        self._add(name, _moments_of(values))

    def take(self) -> torch.Tensor:
        """Returns the moments reported since the last call, float64 [R, 3]."""
        self._taken = {name: len(rows) for name, rows in self._fresh.items()}
        rows = [row for rows in self._fresh.values() for row in rows]
        self._fresh = {}
        if not rows:
            return torch.zeros([0, 3], dtype=torch.float64)
        device = max((row.device for row in rows), key=lambda device: device.type == 'cuda')  # numbers: CPU
        return torch.stack([row.to(device) for row in rows])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds the rows that all processes took, float64 [W, R, 3] in the order of ranks."""
        begin = 0
        for name, count in self._taken.items():
            # The same rows in the same shape for every W, so the same bits.
            self._add(name, rows[:, begin : begin + count].reshape(-1, 3).sum(dim=0))
            begin += count

    def summary(self) -> dict[str, dict[str, float]]:
        """Returns {name: {'num', 'mean', 'std'}}, sorted by name; the standard deviation is the population's."""
        result = {}
        for name, moments in sorted(self.state_dict().items()):
            num, total, squares = moments
            mean = total / num
            result[name] = {'num': num, 'mean': mean, 'std': math.sqrt(max(squares / num - mean * mean, 0.0))}
        return result

    def clear(self) -> None:
        """Discards everything, at the start of a tick."""
        self._moments.clear()
        self._fresh.clear()

    def state_dict(self) -> dict[str, list[float]]:
        """Returns the moments as lists, which JSON stores exactly."""
        if self._fresh:
            self.absorb(self.take().unsqueeze(0))  # reported outside a step
        return {name: moments.tolist() for name, moments in self._moments.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Restores the moments of `state_dict`."""
        self._moments = {name: torch.tensor(moments, dtype=torch.float64) for name, moments in state.items()}
        self._fresh = {}

    def _add(self, name: str, moments: torch.Tensor) -> None:
        before = self._moments.get(name)
        # Moments from a saved state are on the CPU.
        self._moments[name] = moments if before is None else before.to(moments.device) + moments


def _moments_of(values: torch.Tensor | float) -> torch.Tensor:
    """Returns count, sum and sum of squares, float64 [3]."""
    x = torch.as_tensor(values).detach().flatten().double()
    return torch.stack([x.new_full([], x.numel()), x.sum(), x.square().sum()])
