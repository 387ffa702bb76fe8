"""Test of every row against the best one, which is chosen from the same data.

Games and Howell (1976): Welch's t of two rows, with the quantile of the range of all K rows, so that choosing the best
row does not raise the level. The spreads of the rows may differ.

Letters: K rows, n values of a row, m mean, s² variance, g = s²/n, nu degrees of freedom, q quantile of the studentized
range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05  # probability that equal rows are told apart
POWER = 0.8  # probability that a real difference is found, in statements about further seeds
MAX_SEEDS = 10  # largest number of seeds that a sentence recommends


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A row minus the best row.

    Attributes:
        value: Difference of the means.
        margin: Half width of the interval, simultaneous for all rows, with a confidence of 1 - `LEVEL`.
        p: Probability, if all rows are equal, that the best and some row differ as much.
    """

    value: float
    margin: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is larger than chance."""
        return self.p < LEVEL


def subtract_best(samples: Sequence[np.ndarray], best: int) -> list[Difference]:
    """Tests every row against the best one.

    Args:
        samples: Values per row, float64 [n], n >= 2, not all equal.
        best: Index of the best row.

    Returns:
        One difference per row, in the order of the samples; that of the best row is zero with p = 1.
    """
    from scipy.stats import studentized_range  # here: SciPy is slow to import

    m = [float(sample.mean()) for sample in samples]
    g = [float(sample.var(ddof=1)) / len(sample) for sample in samples]
    differences = []
    for i in range(len(samples)):
        if i == best:
            differences.append(Difference(value=0.0, margin=0.0, p=1.0))
            continue
        # Welch and Satterthwaite: nu = (g_i + g_b)² / (g_i² / (n_i - 1) + g_b² / (n_b - 1))
        nu = (g[i] + g[best]) ** 2 / (g[i] ** 2 / (len(samples[i]) - 1) + g[best] ** 2 / (len(samples[best]) - 1))
        unit = math.sqrt((g[i] + g[best]) / 2)
        value = m[i] - m[best]
        margin = unit * float(studentized_range.isf(LEVEL, len(samples), nu))
        p = float(studentized_range.sf(abs(value) / unit, len(samples), nu))
        differences.append(Difference(value=value, margin=margin, p=p))
    return differences


def detectable(sd: float, num_rows: int, num_seeds: int) -> float:
    """Returns the difference from the best that is found with a probability of `POWER`.

    Args:
        sd: Standard deviation of every row over seeds.
        num_rows: K, at least 2.
        num_seeds: n of every row, at least 2.

    Returns:
        The difference of two means, in the unit of sd.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, studentized_range

    nu = 2 * (num_seeds - 1)
    quantile = float(studentized_range.isf(LEVEL, num_rows, nu)) / math.sqrt(2)  # of Welch's t
    shift = brentq(lambda shift: nct.sf(quantile, nu, shift) - POWER, 0.0, 20 * quantile)
    return sd * math.sqrt(2 / num_seeds) * float(shift)


def seeds_for(difference: float, sd: float, num_rows: int) -> int:
    """Returns the smallest number of seeds that shows a difference, or `MAX_SEEDS` if that is larger.

    Args:
        difference: Difference of two means, positive.
        sd: Standard deviation of every row over seeds.
        num_rows: K, at least 2.
    """
    found = (n for n in range(2, MAX_SEEDS) if detectable(sd, num_rows, n) <= difference)
    return next(found, MAX_SEEDS)


def pooled_sd(samples: Sequence[np.ndarray]) -> float:
    """Returns the pooled standard deviation of the rows, each float64 [n]."""
    freedom = sum(len(sample) - 1 for sample in samples)
    return math.sqrt(sum((len(sample) - 1) * float(sample.var(ddof=1)) for sample in samples) / freedom)
