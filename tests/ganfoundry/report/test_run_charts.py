"""Charts of runs: metrics with errors and the best marked, and statistics over the ticks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganfoundry.report.run_charts import is_error, lower_is_better, metric_charts, tick_charts
from ganfoundry.report.run_report import open_runs
from tests.support.run_folders import metric_line, tick_line, write_run


def test_a_metric_has_its_errors_and_the_best_marked(finished: Path):
    (chart,) = metric_charts(open_runs([finished]))
    (series,) = chart.series
    assert (chart.title, chart.note) == ('fd_efflite1k', 'Lower is better.')
    assert (series.x, series.y) == ([2, 4, 6], [80, 60, 70])
    assert (series.low, series.high) == ([78, 58, 68], [82, 62, 72])
    assert series.best == 1


def test_of_a_metric_where_more_is_better_the_largest_is_the_best(tmp_path: Path):
    run = write_run(tmp_path / 'run', metrics=False)
    lines = [metric_line(nimg, value, 'is50k') for nimg, value in ((2000, 3), (4000, 5), (6000, 4))]
    (run / 'metric-is50k.jsonl').write_text(''.join(lines))
    (chart,) = metric_charts(open_runs([run]))
    assert chart.series[0].best == 1


def test_the_metric_of_a_plug_in_has_no_best(tmp_path: Path):
    run = write_run(tmp_path / 'run', metrics=False)
    (run / 'metric-mine7.jsonl').write_text(metric_line(2000, 3, 'mine7'))
    (chart,) = metric_charts(open_runs([run]))
    assert (chart.series[0].best, chart.note) == (None, '')
    assert lower_is_better('mine7') is None


@pytest.mark.parametrize(
    ('key', 'keys', 'error'),
    [('a_std', ['a', 'a_std'], True), ('is50k_std', ['is50k_mean', 'is50k_std'], False), ('a', ['a'], False)],
)
def test_an_error_is_that_of_another_number(key: str, keys: list[str], error: bool):
    assert is_error(key, keys) == error


def test_every_statistic_of_the_losses_is_drawn_and_quiet_health_is_not(finished: Path):
    charts = {chart.title: chart for chart in tick_charts(open_runs([finished]))}
    assert {'Losses', 'Logits of D', 'Signs of D', 'Augmentation strength p', 'r1_penalty', 'Memory in GiB'} <= set(
        charts
    )
    assert 'Rollbacks' not in charts
    runs = open_runs([finished])
    assert charts['r1_penalty'].chart(runs).series[0].x == [1, 3, 5]


def test_a_fault_is_drawn_from_its_first_tick_on(tmp_path: Path):
    run = write_run(tmp_path / 'run')
    with (run / 'stats.jsonl').open('a') as file:
        file.write(tick_line(7, 7000, Health__nonfinite_steps=0.5))
    (chart,) = [chart for chart in tick_charts(open_runs([run])) if chart.section == 'Health']
    assert chart.title == 'Share of steps that were not finite'


def test_several_runs_share_a_chart(finished: Path, interrupted: Path):
    runs = open_runs([finished, interrupted])
    (losses,) = [chart for chart in tick_charts(runs) if chart.title == 'Losses']
    assert [(curve.name, curve.color, curve.dashed) for curve in losses.curves] == [
        ('00000-finished: G', 0, False),
        ('00000-finished: D', 0, True),
        ('00001-interrupted: G', 1, False),
        ('00001-interrupted: D', 1, True),
    ]
    assert [len(series.x) for series in losses.chart(runs).series] == [7, 7, 4, 4]


def test_the_points_of_a_chart_are_those_of_the_new_ticks(finished: Path):
    runs = open_runs([finished])
    (losses,) = [chart for chart in tick_charts(runs) if chart.title == 'Losses']
    points = losses.points(runs, 0, 5)
    assert [(item['chart'], item['series'], item['points']['x']) for item in points] == [
        ('losses', 0, [5, 6]),
        ('losses', 1, [5, 6]),
    ]


def test_many_ticks_are_few_points_with_their_range(tmp_path: Path):
    run = write_run(tmp_path / 'run', num_ticks=1)
    (run / 'stats.jsonl').write_text(''.join(tick_line(index, index * 1000) for index in range(3000)))
    runs = open_runs([run])
    (losses,) = [chart for chart in tick_charts(runs) if chart.title == 'Losses']
    chart = losses.chart(runs)
    assert len(chart.series[0].x) == len(chart.series[0].low) == 600
    assert chart.note == 'A point is the mean of up to 5 ticks; the band is their range.'
