"""Comparison of two measurements: the test whether they differ by more than noise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dnnlib.errors import ConfigError
from metrics.uncertainty import ERRORS, Estimate, over_seeds

SIGNIFICANT = 0.05  # probability of a false difference between equal networks


class Comparison(NamedTuple):
    """The difference of two numbers, a - b.

    Attributes:
        difference: The difference.
        std: Its standard error.
        z: The difference in units of its standard error.
        p: Probability of a difference at least as large between equal networks.
        method: Name of the test.
        better: Name of the better network; None if the difference is not larger than noise, or has no direction.
        sentence: The result for people.
    """

    difference: float
    std: float
    z: float
    p: float
    method: str
    better: str | None
    sentence: str

    @property
    def significant(self) -> bool:
        """Whether the difference is larger than noise."""
        return self.p < SIGNIFICANT


def compare(
    a: Estimate,
    b: Estimate,
    *,
    key: str = 'the metric',
    names: tuple[str, str] = ('A', 'B'),
    lower_is_better: bool | None = None,
) -> Comparison:
    """Tests whether two networks differ in a number by more than noise.

    With two or more common seeds the differences per seed are tested (Student, paired), because the same latents make
    much of the noise common. With two or more seeds each, but not the same, the test is Welch's; otherwise it assumes a
    normal distribution with the standard errors of half samples.

    Args:
        a: The first number.
        b: The second number.
        key: Name of the number, for the sentence.
        names: Names of the networks, for the sentence.
        lower_is_better: The direction of the number; None if it has none.

    Returns:
        The comparison.

    Raises:
        ConfigError: One of the numbers has no uncertainty.
    """
    difference, std, p, method = _test(a, b, key)
    z = difference / std if std else math.copysign(math.inf, difference) if difference else 0.0
    noise = 'larger than noise' if p < SIGNIFICANT else 'not larger than noise'
    better, verdict = None, 'significant difference' if p < SIGNIFICANT else 'no significant difference'
    if p < SIGNIFICANT and lower_is_better is not None:
        better = names[0] if (difference < 0) == lower_is_better else names[1]
        verdict = f'{better} is better'
    sentence = (
        f'{key}: {verdict}. {names[0]} {a.value:.4g}, {names[1]} {b.value:.4g}; the difference {difference:+.4g} ± '
        f'{std:.2g} is {noise} (p = {p:.2g}, {method})'
    )
    return Comparison(difference, std, z, p, method, better, sentence)


def _test(a: Estimate, b: Estimate, key: str) -> tuple[float, float, float, str]:
    """Returns the difference, its standard error, p, and the name of the test."""
    of_a, of_b = dict(a.by_seed), dict(b.by_seed)
    shared = [seed for seed in of_a if seed in of_b]
    if len(shared) >= 2:
        differences = [of_a[seed] - of_b[seed] for seed in shared]
        mean, std = float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(len(shared))
        return mean, std, _student_p(mean, std, len(shared) - 1), f'paired over {len(shared)} seeds'
    for estimate, which in ((a, 'first'), (b, 'second')):
        if estimate.std is None:
            raise ConfigError(f'{key}: the {which} network was measured without an uncertainty; measure it with seeds')
    assert a.std is not None
    assert b.std is not None
    difference, std = a.value - b.value, math.hypot(a.std, b.std)
    if len(of_a) >= 2 and len(of_b) >= 2 and std > 0:
        # Welch and Satterthwaite's degrees of freedom
        freedom = std**4 / (a.std**4 / (len(of_a) - 1) + b.std**4 / (len(of_b) - 1))
        return difference, std, _student_p(difference, std, freedom), f"Welch's test, {len(of_a)} and {len(of_b)} seeds"
    return difference, std, _student_p(difference, std, math.inf), 'normal, half samples'


def _student_p(difference: float, std: float, freedom: float) -> float:
    """Returns the two-sided probability of |t| or more under Student's distribution."""
    from scipy.special import ndtr, stdtr  # here: SciPy is slow to import

    if std == 0:
        return 0.0 if difference else 1.0
    t = -abs(difference) / std
    return 2 * float(ndtr(t) if math.isinf(freedom) else stdtr(freedom, t))


def read_estimates(lines: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    """Reads estimates from the records of one network, {'results': {key: value}, 'seed': seed}, one line per seed.

    Several lines give means over seeds; a single line gives its own `<key>_std`, if it has one.
    """
    runs = {int(line['seed']): _without_errors(line['results']) for line in lines}
    estimates = over_seeds(runs)
    if len(runs) > 1:
        return estimates
    results = lines[-1]['results']
    return {key: dataclasses.replace(one, std=results.get(f'{key}_std')) for key, one in estimates.items()}


def _without_errors(results: Mapping[str, float]) -> dict[str, float]:
    """Returns the numbers without their errors. `is50k_std` is a number: there is no `is50k`."""
    errors = {f'{key}{suffix}' for key in results for suffix in ERRORS}
    return {key: value for key, value in results.items() if key not in errors}
