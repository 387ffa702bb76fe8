"""Test of every row against the best one, which is chosen from the same data.

Few seeds hardly estimate a spread, and the spreads of rows differ. The variances are therefore moderated (Smyth 2004):
each is drawn towards a common one, as far as the rows agree. Two rows are then compared as Games and Howell (1976) do:
Welch's t, and the quantile of the range of all K rows, so that choosing the best row does not raise the level. The
moderated variances are estimates; `FACTORS` makes up for that. bench/trials.py compares the test with others and
measures its level.

Letters: K rows, n values of a row, m mean, s² variance, d = n - 1 and nu degrees of freedom, g = s²/n; d0 and s0² of
the common variance; P, Q points of the grids of s0² and d0.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVEL = 0.05  # probability that equal rows are told apart
POWER = 0.8  # probability that a real difference is found, in statements about further seeds
MAX_SEEDS = 10  # largest number of seeds that a sentence recommends
# Factor on p by the smallest number of seeds of a row. Chosen by bench/trials.py.
FACTORS = {2: 3.0, 3: 2.0, 4: 1.5}
FACTOR_OF_MORE = 1.25
NUM_LOCATIONS = 40  # P
D0 = 2.0 ** np.arange(-3, 8)  # [Q]; 128 is nearly a pooled variance
D0_PRIOR = -np.log(D0)  # logarithm of the prior on that grid: in doubt the variances differ


class Contrast(NamedTuple):
    """Every row minus the best row, each float64 [..., K].

    Attributes:
        value: Differences of the means; 0 for the best row.
        unit: Their standard errors, divided by √2: the unit of the studentized range.
        freedom: Degrees of freedom of the units.
    """

    value: Array
    unit: Array
    freedom: Array


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


def moderate(variances: Array, freedom: Array) -> tuple[Array, Array]:
    """Draws variances towards a common one, by an average over all priors that scaled inverse chi² distributions offer.

    Under a prior with d0 and s0², the posterior of 1 / sigma² is gamma with d + d0 degrees of freedom and the variance
    (d0 s0² + d s²) / (d + d0). The priors are weighted by the likelihood of all variances of a comparison; the result
    has the mean and the variance of the mixture of these posteriors.

    Args:
        variances: s² of the rows, positive, float64 [..., K].
        freedom: d of the rows, float64 [K].

    Returns:
        Moderated variances and their degrees of freedom, each float64 [..., K].
    """
    from scipy.special import gammaln  # here: SciPy is slow to import

    logs = np.log(variances)
    low, high = logs.min(axis=-1, keepdims=True) - 4, logs.max(axis=-1, keepdims=True) + 4
    s0 = np.exp(low + (high - low) * np.linspace(0, 1, NUM_LOCATIONS))[..., None]  # s0² [..., P, 1]
    total = D0[:, None] + freedom  # d + d0  [Q, K]
    precision = total / ((D0 * s0)[..., None] + freedom * variances[..., None, None, :])  # [..., P, Q, K]
    constant = (gammaln(total / 2) - gammaln(D0 / 2)[:, None] - total / 2 * np.log(total)).sum(axis=-1)  # [Q]
    fits = np.einsum('...qk,qk->...q', np.log(precision), total / 2) + constant + D0_PRIOR  # [..., P, Q]
    fits += len(freedom) * D0 / 2 * np.log(D0 * s0)
    weights = np.exp(fits - fits.max(axis=(-2, -1), keepdims=True))
    weights /= weights.sum(axis=(-2, -1), keepdims=True)
    mean = np.einsum('...pq,...pqk->...k', weights, precision)  # of 1 / sigma²
    square = np.einsum('...pq,...pqk,qk->...k', weights, precision**2, 1 + 2 / total)
    return 1 / mean, 2 * mean**2 / (square - mean**2)


def contrast(means: Array, variances: Array, counts: Array, best: npt.NDArray[np.int64]) -> Contrast:
    """Compares the rows with the best one.

    Args:
        means: m of the rows, float64 [..., K].
        variances: s² of the rows, positive, float64 [..., K].
        counts: n of the rows, at least 2, float64 [K].
        best: Index of the best row, int64 [...].

    Returns:
        The differences with their errors.
    """
    moderated, freedom = moderate(variances, counts - 1)
    g = moderated / counts
    m_best, g_best, freedom_best = (np.take_along_axis(a, best[..., None], -1) for a in (means, g, freedom))
    # Welch and Satterthwaite: nu = (g_i + g_b)² / (g_i² / nu_i + g_b² / nu_b), no more than all rows have together.
    nu = (g + g_best) ** 2 / (g**2 / freedom + g_best**2 / freedom_best)
    return Contrast(means - m_best, np.sqrt((g + g_best) / 2), np.minimum(nu, (counts - 1).sum()))


def factor_of(num_seeds: int) -> float:
    """Returns the factor on p for the smallest number of seeds of a row."""
    return FACTORS.get(num_seeds, FACTOR_OF_MORE)


def subtract_best(samples: Sequence[Array], best: int) -> list[Difference]:
    """Tests every row against the best one.

    Args:
        samples: Values per row, float64 [n], n >= 2, not all equal.
        best: Index of the best row.

    Returns:
        One difference per row, in the order of the samples; that of the best row is zero with p = 1.
    """
    from scipy.stats import studentized_range

    means, variances, counts = np.array([(sample.mean(), sample.var(ddof=1), len(sample)) for sample in samples]).T
    found = contrast(means, variances, counts, np.array(best))
    factor = factor_of(int(counts.min()))
    differences = []
    for i, (value, unit, nu) in enumerate(zip(*found, strict=True)):
        if i == best:
            differences.append(Difference(value=0.0, margin=0.0, p=1.0))
            continue
        margin = float(unit * studentized_range.isf(LEVEL / factor, len(samples), nu))
        p = min(factor * float(studentized_range.sf(abs(value) / unit, len(samples), nu)), 1.0)
        differences.append(Difference(value=float(value), margin=margin, p=p))
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
    quantile = float(studentized_range.isf(LEVEL / factor_of(num_seeds), num_rows, nu)) / math.sqrt(2)  # of Welch's t
    shift = brentq(lambda shift: nct.sf(quantile, nu, shift) - POWER, 0.0, 20 * quantile)
    return sd * math.sqrt(2 / num_seeds) * float(shift)


def seeds_for(difference: float, sd: float, num_rows: int) -> int:
    """Returns the smallest number of seeds that shows a difference, or `MAX_SEEDS` if that is larger.

    Args:
        difference: Difference of two means, positive.
        sd: Standard deviation of every row over seeds.
        num_rows: K, at least 2.
    """
    return 2 + bisect.bisect_left(range(2, MAX_SEEDS), -difference, key=lambda n: -detectable(sd, num_rows, n))


def pooled_sd(samples: Sequence[Array]) -> float:
    """Returns the pooled standard deviation of the rows, each float64 [n]."""
    freedom = sum(len(sample) - 1 for sample in samples)
    return math.sqrt(sum((len(sample) - 1) * float(sample.var(ddof=1)) for sample in samples) / freedom)
