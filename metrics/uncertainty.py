"""How far a metric may be off.

The error of one measurement comes from random halves of the generated images, drawn without replacement: the estimates
over halves scatter about their mean as the estimate over all images does about the truth (the delete-d jackknife with
d = N / 2: Shao and Wu 1989; subsampling: Politis and Romano 1994). Drawing with replacement, the plain bootstrap, would
repeat images, and a repeated image is its own nearest neighbour and its own kernel partner: precision, recall, coverage
and KID would all be wrong (Abadie and Imbens 2008 for neighbours). The real images are not resampled: they are the
data set, the same for every generator that is measured on it.

Repeating the generation with other seeds says the same directly, at the price of generating again.

Letters: N generated images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from dnnlib.errors import ConfigError

REPLICATES = 20
NORMAL_95 = 1.959964  # of the two-sided 95 % interval
ERRORS = ('_std', '_low95', '_high95')  # what `as_results` puts behind a key


def half_sample_std(
    estimate: Callable[[torch.Tensor, int], Mapping[str, float]],
    num_items: int,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, float]:
    """Standard error of every number that `estimate` gives for all of `num_items` items.

    estimate: (positions int64 [N // 2], ascending; number of the replicate) -> numbers by name. A function of the seed.
    """
    assert replicates >= 2
    found: list[Mapping[str, float]] = []
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate])
        chosen = np.sort(rng.choice(num_items, num_items // 2, replace=False))
        found.append(estimate(torch.from_numpy(chosen), replicate))
    # A part of m out of N, drawn without replacement, varies by (1 - m / N) / m where the whole varies by 1 / N: equal
    # for halves, a little off where N is odd.
    half = num_items // 2
    factor = math.sqrt(half / (num_items - half))
    return {key: factor * float(np.std([numbers[key] for numbers in found], ddof=1)) for key in found[0]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One number with what is known of its error.

    value: the number; with several seeds, their mean. by_seed: the number of each seed. std: its standard error, from
    the seeds or from half samples; None where neither was asked for.
    """

    value: float
    std: float | None = None
    by_seed: tuple[tuple[int, float], ...] = ()

    def interval(self) -> tuple[float, float]:
        """The 95 % interval. With seeds it is Student's, since few seeds know their own scatter badly."""
        if self.std is None:
            raise ConfigError('this number was measured once and without an uncertainty; ask for --seeds=3 or more')
        width = self.std * (_student_quantile(len(self.by_seed) - 1) if len(self.by_seed) > 1 else NORMAL_95)
        return self.value - width, self.value + width


def over_seeds(runs: Mapping[int, Mapping[str, float]]) -> dict[str, Estimate]:
    """The numbers of one network measured with several seeds, {seed: {key: value}}: means and their standard errors."""
    keys = list(next(iter(runs.values())))
    estimates = {}
    for key in keys:
        by_seed = tuple((seed, float(numbers[key])) for seed, numbers in runs.items())
        values = [value for _, value in by_seed]
        std = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
        estimates[key] = Estimate(value=float(np.mean(values)), std=std, by_seed=by_seed)
    return estimates


def as_results(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """The numbers of a record: values, then `<key>_std`, `<key>_low95` and `<key>_high95` where there is an error."""
    results = {key: estimate.value for key, estimate in estimates.items()}
    for key, estimate in estimates.items():
        if estimate.std is not None:
            errors = (estimate.std, *estimate.interval())
            results |= {f'{key}{suffix}': value for suffix, value in zip(ERRORS, errors, strict=True)}
    return results


def _student_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
