"""The test against the best row: moderated variances, its limits, and the differences that more seeds would show."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from metrics.against_best import (
    D0,
    D0_PRIOR,
    LEVEL,
    MAX_SEEDS,
    NUM_LOCATIONS,
    detectable,
    factor_of,
    moderate,
    pooled_sd,
    seeds_for,
    subtract_best,
)

VARIANCES = np.array([1.0, 0.3, 2.5, 0.01])
FREEDOM = np.array([1.0, 2.0, 2.0, 4.0])


def test_moderation_averages_over_priors_as_the_densities_of_scipy_do():
    logs = np.linspace(np.log(VARIANCES).min() - 4, np.log(VARIANCES).max() + 4, NUM_LOCATIONS)
    weights, means, squares = [], [], []
    for s0 in np.exp(logs):
        for d0, prior in zip(D0, D0_PRIOR, strict=True):
            density = scipy.stats.f.pdf(VARIANCES / s0, FREEDOM, d0) / s0
            posterior = scipy.stats.gamma((FREEDOM + d0) / 2, scale=2 / (d0 * s0 + FREEDOM * VARIANCES))
            weights.append(math.exp(prior) * density.prod())
            means.append(posterior.mean())
            squares.append(posterior.var() + posterior.mean() ** 2)
    mean, square = (np.average(values, axis=0, weights=weights) for values in (means, squares))
    moderated, freedom = moderate(VARIANCES, FREEDOM)
    assert moderated == pytest.approx(1 / mean, rel=1e-9)
    assert freedom == pytest.approx(2 * mean**2 / (square - mean**2), rel=1e-9)


def test_moderation_does_not_depend_on_the_unit():
    (a, a_freedom), (b, b_freedom) = moderate(VARIANCES, FREEDOM), moderate(1e-6 * VARIANCES, FREEDOM)
    assert b == pytest.approx(1e-6 * a, rel=1e-9)
    assert b_freedom == pytest.approx(a_freedom, rel=1e-9)


def test_variances_that_agree_are_pooled_and_others_are_left_alone():
    freedom = np.full(8, 4.0)
    alike, alike_freedom = moderate(np.linspace(0.9, 1.1, 8), freedom)
    assert np.ptp(alike) < 0.07  # of 0.2
    assert alike_freedom.min() > 8
    other = np.geomspace(1e-8, 1, 8)
    apart, apart_freedom = moderate(other, freedom)
    assert apart == pytest.approx(other, rel=0.5)  # eight orders of magnitude apart
    assert apart_freedom.max() < 6


def test_many_seeds_give_the_test_of_games_and_howell():
    rng = np.random.default_rng(0)
    samples = [rng.normal(mean, sd, 300) for mean, sd in ((0.0, 1.0), (0.2, 0.1), (0.3, 3.0))]
    found = subtract_best(samples, 0)
    reference = scipy.stats.tukey_hsd(*samples, equal_var=False)
    for i in (1, 2):
        assert found[i].p == pytest.approx(factor_of(300) * reference.pvalue[i, 0], rel=0.05)
        assert found[i].value == pytest.approx(samples[i].mean() - samples[0].mean())


def test_an_interval_excludes_zero_exactly_where_p_is_below_the_level():
    rng = np.random.default_rng(1)
    samples = [rng.normal(mean, 1.0, 3) for mean in (0, 2, 4, 6, 8)]
    found = subtract_best(samples, 0)
    assert found[0].value == found[0].margin == 0.0
    assert [one.significant for one in found] == [abs(one.value) > one.margin > 0 for one in found]
    assert {one.significant for one in found[1:]} == {True, False}
    assert all(one.significant == (one.p < LEVEL) for one in found)


def test_a_resolution_shrinks_with_seeds_and_grows_with_rows_and_spread():
    assert detectable(0.05, 4, 3) > detectable(0.05, 4, 5) > detectable(0.05, 2, 5)
    assert detectable(0.1, 4, 3) == pytest.approx(2 * detectable(0.05, 4, 3))
    needed = seeds_for(0.2, 0.05, 4)
    assert detectable(0.05, 4, needed) <= 0.2 < detectable(0.05, 4, needed - 1)
    assert seeds_for(1e-4, 0.05, 4) == MAX_SEEDS


def test_the_pooled_spread_weighs_rows_by_their_degrees_of_freedom():
    assert pooled_sd([np.array([0.0, 2.0]), np.array([0.0, 0.0, 3.0])]) == pytest.approx(math.sqrt((2 + 6) / 3))
