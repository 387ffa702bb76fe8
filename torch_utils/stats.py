"""Moments of what training reports, gathered on the device and read once a tick."""

from __future__ import annotations

import math

import torch


class Collector:
    """Accumulates count, sum and sum of squares by name, in float64, without a host synchronisation.

    The moments are part of a run's state: a run resumed in the middle of a tick reports that tick whole. What
    micro-batches report is held apart until the end of the step (`take`, `absorb`): there the processes exchange it,
    and every one of them adds up the same rows in the order of the micro-batches.

    Letters: R reports of this process in a step, W processes.
    """

    def __init__(self) -> None:
        self._moments: dict[str, torch.Tensor] = {}
        self._fresh: dict[str, list[torch.Tensor]] = {}  # of the present step, in the order of micro-batches
        self._taken: dict[str, int] = {}  # how many rows each name has among those that `take` gave away

    def report(self, name: str, values: torch.Tensor | float) -> None:
        """Adds every element of `values` (any shape, detached here) to the statistics of `name`.

        For what each process sees of its own micro-batches; every process reports the same names.
        """
        self._fresh.setdefault(name, []).append(_moments_of(values))

    def report_shared(self, name: str, values: torch.Tensor | float) -> None:
        """As `report`, of what every process knows alike: it counts once."""
        self._add(name, _moments_of(values))

    def take(self) -> torch.Tensor:
        """What has been reported since the last call, float64 [R, 3]."""
        self._taken = {name: len(rows) for name, rows in self._fresh.items()}
        rows = [row for rows in self._fresh.values() for row in rows]
        self._fresh = {}
        if not rows:
            return torch.zeros([0, 3], dtype=torch.float64)
        device = max((row.device for row in rows), key=lambda device: device.type == 'cuda')  # numbers come on the CPU
        return torch.stack([row.to(device) for row in rows])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds what all processes took, float64 [W, R, 3] in the order of ranks."""
        begin = 0
        for name, count in self._taken.items():
            # The same rows in the same shape for every W, so the same bits.
            self._add(name, rows[:, begin : begin + count].reshape(-1, 3).sum(dim=0))
            begin += count

    def summary(self) -> dict[str, dict[str, float]]:
        """{'name': {'num', 'mean', 'std'}}, sorted by name, with the standard deviation of the population."""
        result = {}
        for name, moments in sorted(self.state_dict().items()):
            num, total, squares = moments
            mean = total / num
            result[name] = {'num': num, 'mean': mean, 'std': math.sqrt(max(squares / num - mean * mean, 0.0))}
        return result

    def clear(self) -> None:
        """Forgets everything, as at the start of a tick."""
        self._moments.clear()
        self._fresh.clear()

    def state_dict(self) -> dict[str, list[float]]:
        """The moments as JSON holds them exactly."""
        if self._fresh:
            self.absorb(self.take().unsqueeze(0))  # reported outside a step
        return {name: moments.tolist() for name, moments in self._moments.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """The inverse of `state_dict`."""
        self._moments = {name: torch.tensor(moments, dtype=torch.float64) for name, moments in state.items()}
        self._fresh = {}

    def _add(self, name: str, moments: torch.Tensor) -> None:
        before = self._moments.get(name)
        # Moments that come from a saved state lie on the CPU.
        self._moments[name] = moments if before is None else before.to(moments.device) + moments


def _moments_of(values: torch.Tensor | float) -> torch.Tensor:
    """Count, sum and sum of squares, float64 [3]."""
    x = torch.as_tensor(values).detach().flatten().double()
    return torch.stack([x.new_full([], x.numel()), x.sum(), x.square().sum()])
