"""Statistics of training, accumulated on the device and read once per tick."""

from __future__ import annotations

import itertools
import math

import torch


class Collector:
    """Accumulates count, sum and sum of squares by name, in float64, without synchronizing with the host.

    The moments are part of a run's state: a run resumed in the middle of a tick reports the whole tick. Reports are
    kept as they are until the end of the step (`take`, `absorb`), when their moments are computed together: one stack
    per size of tensors, not some kernels per report. The processes exchange the moments of micro-batches, and each
    process adds the same rows in the order of the micro-batches.

    Letters: R reports of this process in a step, W processes.
    """

    def __init__(self) -> None:
        self._moments: dict[str, torch.Tensor] = {}
        self._fresh: dict[str, list[torch.Tensor]] = {}  # this step's reports, in the order of micro-batches
        self._fresh_shared: dict[str, list[torch.Tensor]] = {}  # the same of values that are equal in all processes
        self._taken: dict[str, int] = {}  # number of rows per name in the last result of `take`

    def report(self, name: str, values: torch.Tensor | float) -> None:
        """Adds every element of `values` (any shape, detached here) to the statistics of `name`.

        For values of the process's own micro-batches; every process must report the same names. A tensor without a
        graph is copied, because its owner may change it in place before the end of the step.
        """
        x = torch.as_tensor(values)
        self._fresh.setdefault(name, []).append(x.detach() if x.requires_grad else x.clone())

    def report_shared(self, name: str, values: torch.Tensor) -> None:
        """Adds values that are equal in all processes and count once. `values` must not change before the step ends."""
        self._fresh_shared.setdefault(name, []).append(values)

    def take(self) -> torch.Tensor:
        """Returns the moments of `report` since the last call, float64 [R, 3]."""
        fresh, self._fresh = self._fresh, {}
        self._taken = {name: len(values) for name, values in fresh.items()}
        return _moments_of([x for values in fresh.values() for x in values])

    def absorb(self, rows: torch.Tensor) -> None:
        """Adds the rows that all processes took, float64 [W, R, 3] in the order of ranks, and the shared values."""
        shared, self._fresh_shared = self._fresh_shared, {}
        self._add(rows, self._taken)
        counts = {name: len(values) for name, values in shared.items()}
        self._add(_moments_of([x for values in shared.values() for x in values]).unsqueeze(0), counts)

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
        self._fresh_shared.clear()

    def state_dict(self) -> dict[str, list[float]]:
        """Returns the moments as lists, which JSON stores exactly."""
        if self._fresh or self._fresh_shared:
            self.absorb(self.take().unsqueeze(0))  # reported outside a step
        return {name: moments.tolist() for name, moments in self._moments.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Restores the moments of `state_dict`."""
        self._moments = {name: torch.tensor(moments, dtype=torch.float64) for name, moments in state.items()}
        self._fresh, self._fresh_shared = {}, {}

    def _add(self, rows: torch.Tensor, counts: dict[str, int]) -> None:
        """Adds moments to the totals.

        Args:
            rows: Moments, float64 [W, R, 3].
            counts: Number of rows by name, in the order of the rows.
        """
        old, new = [], []
        for name, added in zip(counts, _sums(rows, list(counts.values())), strict=True):
            if name not in self._moments:
                self._moments[name] = added
            else:
                # Moments from a saved state are on the CPU.
                self._moments[name] = self._moments[name].to(added.device)
                old.append(self._moments[name])
                new.append(added)
        if old:
            torch._foreach_add_(old, new)


def _sums(rows: torch.Tensor, counts: list[int]) -> list[torch.Tensor]:
    """Returns the sum of the rows of every name, float64 [3] each, summed in the order of processes and micro-batches.

    Args:
        rows: Moments, float64 [W, R, 3].
        counts: Number of rows of every name, in the order of the rows.
    """
    sums: list[torch.Tensor] = []
    begin = 0
    for count, names in itertools.groupby(counts):
        k = len(list(names))
        part = rows[:, begin : begin + k * count].unflatten(1, (k, count))  # [W, K, count, 3]
        part = part.transpose(0, 1).flatten(1, 2)  # [K, W count, 3]: the same rows in the same shape for every W
        sums += (part[:, 0] if part.shape[1] == 1 else part.sum(dim=1)).unbind(0)
        begin += k * count
    return sums


def _moments_of(values: list[torch.Tensor]) -> torch.Tensor:
    """Returns count, sum and sum of squares of each tensor, float64 [R, 3]; tensors of one size in one pass."""
    if not values:
        return torch.zeros([0, 3], dtype=torch.float64)
    groups: dict[tuple[int, torch.dtype, torch.device], list[int]] = {}
    for i, x in enumerate(values):
        groups.setdefault((x.numel(), x.dtype, x.device), []).append(i)
    device = max((x.device for x in values), key=lambda device: device.type == 'cuda')  # numbers: CPU
    rows: dict[int, torch.Tensor] = {}
    for indices in groups.values():
        x = torch.stack([values[i].flatten() for i in indices]).double()  # [K, numbers]
        moments = torch.stack([torch.ones_like(x), x, x.square()]).sum(dim=2).T  # [K, 3]
        rows |= dict(zip(indices, moments.to(device).unbind(0), strict=True))
    return torch.stack([rows[i] for i in range(len(values))])
