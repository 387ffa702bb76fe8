"""At a rung a row leaves only if it is significantly worse and in the lower half; the textbook form asks for less."""

from __future__ import annotations

from metrics.halving import leaving_rows
from metrics.trials import Trials


def row(label: str, mean: float, *, sd: float = 0.02, seeds: int = 3, **lost: int) -> Trials:
    steps = [0.0] if seeds == 1 else [2 * i / (seeds - 1) - 1 for i in range(seeds)]
    return Trials(label=label, values=tuple(mean * (1 + sd * step) for step in steps), **lost)


def leaving(*rows: Trials, share: float = 0.5, lower_is_better: bool = True, strict: bool = False) -> dict[str, str]:
    return leaving_rows(rows, share=share, metric='fd', lower_is_better=lower_is_better, strict=strict)


FOUR = (row('a', 100), row('b', 180), row('c', 240), row('d', 300))


def test_rows_that_are_worse_leave_only_from_the_lower_half():
    assert list(leaving(*FOUR)) == ['c', 'd']
    assert list(leaving(*FOUR, lower_is_better=False)) == ['a', 'b']
    assert leaving(*FOUR)['d'].startswith('place 4 of 4 by fd, significantly worse than a by +200 % (')
    assert list(leaving(*FOUR[:3])) == ['c']


def test_rows_within_noise_stay_and_leave_in_the_textbook_form():
    noisy = (row('a', 100, sd=0.3), row('b', 104, sd=0.3), row('c', 110, sd=0.3), row('d', 115, sd=0.3))
    assert leaving(*noisy) == {}
    assert leaving(*noisy, strict=True) == {
        'c': 'place 3 of 4 by fd, in the lower half',
        'd': 'place 4 of 4 by fd, in the lower half',
    }


def test_one_seed_removes_no_row_except_in_the_textbook_form():
    single = (row('a', 100, seeds=1), row('b', 900, seeds=1))
    assert leaving(*single) == {}
    assert list(leaving(*single, strict=True)) == ['b']


def test_a_collapse_alone_removes_no_row_but_diverged_runs_do():
    assert leaving(row('a', 100), row('b', 101, collapsed=3)) == {}
    assert leaving(row('a', 100), row('b', 101, seeds=1, diverged=2)) == {'b': '2 of its 3 runs diverged'}
    assert leaving(row('a', 100, collapsed=3), row('b', 300))['b'].startswith('place 2 of 2')


def test_the_textbook_form_ranks_a_row_without_values_last():
    assert list(leaving(Trials(label='none', values=()), row('a', 100), row('b', 101), strict=True)) == ['none']


def test_a_row_stays_while_the_rest_of_the_training_may_close_its_gap():
    rows = (row('a', 100), row('b', 130))
    assert list(leaving(*rows, share=0.5)) == ['b']  # 30 % is more than one doubling closes
    assert leaving(*rows, share=0.25) == {}  # and less than two
    assert list(leaving(*rows, share=0.25, strict=True)) == ['b']
