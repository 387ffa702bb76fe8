"""The numbers that docs/compare.md promises, with fixed draws: level and power of the test, and races with halving."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bench import trial_races, trials
from metrics.against_best import LEVEL, factor_of, subtract_best
from metrics.halving import leaving_rows
from metrics.trials import Trials

DRAWS = 2000
ERROR = 1.0  # percent; two standard errors of 5 % over 2,000 draws


def draws(kind: str, num_rows: int, num_seeds: int, means: np.ndarray | None = None) -> trials.Draws:
    expected = np.zeros(num_rows) if means is None else means
    rng = np.random.default_rng([num_rows, num_seeds])
    return trials.simulate(rng, DRAWS, expected, trials.spreads(kind, num_rows), (num_seeds,) * num_rows)


@pytest.mark.parametrize('kind', ['equal', 'record'])
@pytest.mark.parametrize('num_seeds', trials.NUM_SEEDS)
def test_equal_rows_are_told_apart_in_at_most_five_percent_of_draws(num_seeds: int, kind: str):
    for num_rows in trials.NUM_ROWS:
        false = 100 * trials.of_trials(draws(kind, num_rows, num_seeds)).any(axis=1).mean()
        assert false <= 100 * LEVEL + ERROR, num_rows


@pytest.mark.parametrize(('num_rows', 'num_seeds'), [(2, 3), (8, 5)])
def test_a_difference_of_30_percent_is_found_in_nine_of_ten_draws(num_rows: int, num_seeds: int):
    for means in (np.append(0.0, np.full(num_rows - 1, trials.WORSE)), np.append(np.zeros(num_rows - 1), trials.WORSE)):
        found = trials.of_trials(draws('equal', num_rows, num_seeds, means))[:, means > 0]
        assert found.mean() >= 0.9


def test_two_seeds_break_the_level_of_games_and_howell_and_pooling_that_of_tukey():
    unequal = draws('record', 8, 2)
    assert 100 * trials.games_howell(unequal).any(axis=1).mean() > 100 * LEVEL + ERROR
    assert 100 * trials.tukey(unequal).any(axis=1).mean() > 10


def test_the_simulated_test_is_the_one_of_the_verdicts():
    rng = np.random.default_rng(0)
    values = rng.normal([0.0, 0.1, 0.2, 0.3], 0.05, (6, 3, 4)).transpose(0, 2, 1)  # [draws, rows, seeds]
    batch = trials.Draws(values.mean(axis=-1), values.var(axis=-1, ddof=1), np.full(4, 3.0))
    expected = [
        [one.significant for one in subtract_best(list(draw), int(draw.mean(axis=-1).argmin()))] for draw in values
    ]
    assert trials.of_trials(batch).tolist() == expected
    assert {True, False} == {one for row in expected for one in row}


def test_an_interpolated_quantile_is_that_of_scipy():
    freedom = np.array([1.0, 1.7, 4.0, 14.0, 60.0])
    found = trials.quantile(LEVEL / factor_of(2), 8, freedom)
    assert scipy.stats.studentized_range.sf(found, 8, freedom) == pytest.approx(LEVEL / factor_of(2), rel=0.02)


@pytest.fixture(scope='module')
def races() -> tuple[np.ndarray, np.ndarray]:
    return trial_races.simulate_races(np.random.default_rng(0), trial_races.Model(), 1000)


def test_halving_keeps_the_best_row_in_95_percent_of_races_at_60_percent_cost(
    races: tuple[np.ndarray, np.ndarray],
):
    kept, winner, cost = trial_races.summary(*races, trial_races.RULES[0], trials.of_trials, trials.Draws)
    assert kept >= 95
    assert winner >= 95
    assert cost <= 60


def test_the_textbook_form_loses_the_best_row_more_often(races: tuple[np.ndarray, np.ndarray]):
    kept, _, cost = trial_races.summary(*races, 'strict', trials.of_trials, trials.Draws)
    assert kept < 95
    assert cost == pytest.approx(50)


@pytest.mark.parametrize('strict', [False, True])
def test_the_simulated_rule_is_the_one_of_halving(races: tuple[np.ndarray, np.ndarray], strict: bool):
    for values in races[1][:2, 0]:  # [K, n], logarithms at a quarter
        moments = trials.Draws(values.mean(axis=-1)[None], values.var(axis=-1, ddof=1)[None], np.full(8, 3.0))
        rule = 'strict' if strict else trial_races.RULES[0]
        expected = trial_races.leaving(moments.means, trials.of_trials(moments), 0.25, rule)[0]
        rows = [Trials(label=str(i), values=tuple(np.exp(row).tolist())) for i, row in enumerate(values)]
        gone = leaving_rows(rows, share=0.25, metric='fd', lower_is_better=True, strict=strict)
        assert [row.label in gone for row in rows] == expected.tolist()
