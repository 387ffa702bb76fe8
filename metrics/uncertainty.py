"""Standard errors of metrics.

The error of one measurement comes from random halves of the generated images, drawn without replacement: the estimates
over halves scatter about their mean as the estimate over all images does about the truth (the delete-d jackknife with
d = N / 2: Shao and Wu 1989; subsampling: Politis and Romano 1994). The plain bootstrap, with replacement, would repeat
images, and a repeated image is its own nearest neighbor and its own kernel partner: precision, recall, coverage and KID
would all be wrong (Abadie and Imbens 2008 for neighbors). The real images are not resampled: they are the data set, the
same for every generator that is measured on it.

Measuring with several seeds gives the same error directly, at the price of generating again.

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
NORMAL_95 = 1.959964  # half width of the 95 % interval, in standard errors
ERRORS = ('_std', '_low95', '_high95')  # suffixes that `as_results` appends to a key


def half_sample_std(
    estimate: Callable[[torch.Tensor, int], Mapping[str, float]],
    num_items: int,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, float]:
    """Estimates the standard error of every number that `estimate` returns for all items; a function of the seed.

    Args:
        estimate: Function from positions, int64 [N // 2], ascending, and the number of the replicate to numbers by
            name.
        num_items: N.
        replicates: Number of halves, at least 2.
        seed: Seed of the halves.

    Returns:
        Standard errors by the names of the numbers.
    """
    assert replicates >= 2
    found: list[Mapping[str, float]] = []
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate])
        chosen = np.sort(rng.choice(num_items, num_items // 2, replace=False))
        found.append(estimate(torch.from_numpy(chosen), replicate))
    # The variance of a part of m out of N, drawn without replacement, is proportional to (1 - m / N) / m, that of the
    # whole to 1 / N: equal for halves, slightly different if N is odd.
    half = num_items // 2
    factor = math.sqrt(half / (num_items - half))
    return {key: factor * float(np.std([numbers[key] for numbers in found], ddof=1)) for key in found[0]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """One number with its error.

    Attributes:
        value: The number; with several seeds, their mean.
        std: Standard error, from the seeds or from half samples; None if neither was requested.
        by_seed: The number of each seed.
    """

    value: float
    std: float | None = None
    by_seed: tuple[tuple[int, float], ...] = ()

    def interval(self) -> tuple[float, float]:
        """Returns the 95 % interval. With seeds it is Student's, because few seeds estimate their scatter poorly."""
        if self.std is None:
            raise ConfigError('this number was measured once and without an uncertainty; ask for --seeds=3 or more')
        width = self.std * (_student_quantile(len(self.by_seed) - 1) if len(self.by_seed) > 1 else NORMAL_95)
        return self.value - width, self.value + width


def over_seeds(runs: Mapping[int, Mapping[str, float]]) -> dict[str, Estimate]:
    """Returns means and standard errors of the numbers of one network with several seeds, {seed: {key: value}}."""
    keys = list(next(iter(runs.values())))
    estimates = {}
    for key in keys:
        by_seed = tuple((seed, float(numbers[key])) for seed, numbers in runs.items())
        values = [value for _, value in by_seed]
        std = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
        estimates[key] = Estimate(value=float(np.mean(values)), std=std, by_seed=by_seed)
    return estimates


def as_results(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Returns the numbers of a record: values, then `<key>_std`, `<key>_low95` and `<key>_high95` of known errors."""
    results = {key: estimate.value for key, estimate in estimates.items()}
    for key, estimate in estimates.items():
        if estimate.std is not None:
            errors = (estimate.std, *estimate.interval())
            results |= {f'{key}{suffix}': value for suffix, value in zip(ERRORS, errors, strict=True)}
    return results


def _student_quantile(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
