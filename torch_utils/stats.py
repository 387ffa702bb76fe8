"""Moments of what training reports, gathered on the device and read once a tick."""

from __future__ import annotations

import math

import torch


class Collector:
    """Accumulates count, sum and sum of squares by name, in float64, without a host synchronisation.

    The moments are part of a run's state: a run resumed in the middle of a tick reports that tick whole.
    """

    def __init__(self) -> None:
        self._moments: dict[str, torch.Tensor] = {}

    def report(self, name: str, values: torch.Tensor | float) -> None:
        """Adds every element of `values` (any shape, detached here) to the statistics of `name`."""
        x = torch.as_tensor(values).detach().flatten().double()
        moments = torch.stack([x.new_full([], x.numel()), x.sum(), x.square().sum()])
        before = self._moments.get(name)
        # Moments that come from a saved state lie on the CPU.
        self._moments[name] = moments if before is None else before.to(moments.device) + moments

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

    def state_dict(self) -> dict[str, list[float]]:
        """The moments as JSON holds them exactly."""
        return {name: moments.tolist() for name, moments in self._moments.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """The inverse of `state_dict`."""
        self._moments = {name: torch.tensor(moments, dtype=torch.float64) for name, moments in state.items()}
