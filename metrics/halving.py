"""Successive halving that knows noise: the rows of a comparison that leave before the end.

At a rung all rows have trained equally long. A row leaves if three conditions hold: it is significantly worse than the
best row, by the test of `metrics.trials`; it is in the lower half; and its distance from the best row is more than a
row may catch up in the rest of the training. The last condition is for curves that cross, against which more seeds do
not help. In the textbook form the lower half leaves, whatever the noise. bench/trials.py simulates both.

Collapse is no reason to leave: it may be a stage that passes. A row leaves, however, as soon as half of its runs have
diverged: those have ended, so the row counts as collapsed whatever the others reach.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from metrics.trials import Scale, Standing, Trials, judge

CATCH_UP = 1.2  # factor that a row may gain on the best one whenever the length doubles


def leaving_rows(
    trials: Sequence[Trials],
    *,
    share: float,
    metric: str,
    lower_is_better: bool,
    scale: Scale | None = None,
    strict: bool = False,
) -> dict[str, str]:
    """Returns the rows that leave at a rung, with the reason of each.

    Args:
        trials: The rows that are left, with the values of the rung and distinct labels. A value of a collapsed run
            counts as any other.
        share: Share of the length that the rows have trained, between 0 and 1.
        metric: Name of the metric, for the reasons.
        lower_is_better: Direction of the metric.
        scale: Scale of the test, as in `judge`. On the linear scale, which has no ratios, a row that is significantly
            worse is taken to be out of reach.
        strict: Whether the lower half leaves although chance may explain the difference.

    Returns:
        Reasons by label, in the order of the rows. At least one row stays unless half of the runs of each diverged.

    Raises:
        DataError: A value is NaN or infinite, or scale='log' and a value is not positive.
    """
    rows = [dataclasses.replace(row, collapsed=0) for row in trials]
    reasons = {row.label: f'{row.diverged} of its {row.num_runs} runs diverged' for row in rows if row.is_collapsed}
    rows = [row for row in rows if row.label not in reasons]
    verdict = judge(rows, metric=metric, lower_is_better=lower_is_better, scale=scale)
    means = {standing.label: standing.mean for standing in verdict.standings if standing.mean is not None}
    ranked = sorted(means, key=lambda label: means[label], reverse=not lower_is_better)
    ranked += [row.label for row in rows if row.label not in means]  # without a value: last
    worse = {standing.label: standing for standing in verdict.rows('worse')}
    for label in ranked[len(ranked) - len(ranked) // 2 :]:
        place = f'place {ranked.index(label) + 1} of {len(ranked)} by {metric}'
        if label in worse and (verdict.scale == 'linear' or _is_out_of_reach(worse[label], share)):
            reasons[label] = f'{place}, significantly worse than {ranked[0]} by {verdict.interval_of(worse[label])}'
        elif strict:
            reasons[label] = f'{place}, in the lower half'
    return {row.label: reasons[row.label] for row in trials if row.label in reasons}


def _is_out_of_reach(row: Standing, share: float) -> bool:
    """Returns whether the rest of the training, log2(1 / share) doublings, is too short to catch up."""
    assert row.ratio is not None
    return abs(math.log(row.ratio)) > math.log2(1 / share) * math.log(CATCH_UP)
