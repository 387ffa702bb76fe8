"""Tables of a comparison as rows of text, for Markdown and for HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dnnlib.log import format_time
from ganfoundry.compare.results import MIN_DIVERSITY, TOLERANCE
from ganfoundry.compare.summary import RowSummary, Summary
from metrics.trials import Verdict

END_NOTE = (
    'end: mean over seeds ± standard deviation; interval: of the geometric mean, on which the verdict rests, 95 %; '
    'against the best: simultaneous 95 % interval of the ratio to the best row; best: mean of the best of each run'
)
COST_NOTE = (
    'MACs: multiply-adds of one image, forward; s/kimg: median tick, measurements left out; time: of a run, with its '
    'measurements; GB: peak memory; diversity: least of the runs, within classes and relative to real images. '
    f'Collapsed: diversity below {MIN_DIVERSITY}, or a metric that is worse at the end than after a third of the run '
    f'by more than {TOLERANCE:.0%}.'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """A table of text. note: sentence that explains its columns."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def result_table(summary: Summary) -> TextTable:
    """Returns the metrics at the end of every row, with its place in the verdict."""
    metrics = summary.plan.metrics
    papers = any(row.row.paper for row in summary.rows)
    headers = ['row', *(f'{name}, end' for name in metrics), 'interval', 'against the best', 'best', 'verdict', 'runs']
    headers += ['paper'] if papers else []
    rows = []
    for row in summary.rows:
        cells = [title_of(row), *(plus_minus(*row.ends[name]) for name in metrics)]
        cells += [interval_of(row), ratio_of(row, summary.verdict), number(row.best, '.4g'), status_of(row, summary)]
        cells += [states_of(row), *([papers_of(row)] if papers else [])]
        rows.append(tuple(cells))
    return TextTable(headers=tuple(headers), rows=tuple(rows), note=END_NOTE)


def cost_table(summary: Summary) -> TextTable:
    """Returns the size of every row, and the time and memory that its runs took."""
    headers = ('row', 'parameters G', 'D', 'MACs G', 'D', 's/kimg', 'time', 'GB', 'diversity')
    rows = tuple(
        (
            title_of(row),
            *(millions(row, name, net) for name in ('parameters', 'macs') for net in ('G', 'D')),
            number(row.sec_per_kimg, '.1f'),
            '-' if row.seconds is None else format_time(row.seconds),
            number(row.memory_gb, '.2f'),
            number(row.diversity, '.2f'),
        )
        for row in summary.rows
    )
    return TextTable(headers=headers, rows=rows, note=COST_NOTE)


def markdown(table: TextTable) -> list[str]:
    """Returns the lines of a table in Markdown."""
    return [
        markdown_row(table.headers),
        '|' + '---|' * len(table.headers),
        *(markdown_row(row) for row in table.rows),
        '',
        table.note,
    ]


def markdown_row(cells: Sequence[str]) -> str:
    """Returns one row in Markdown. Text of any origin stays within its cell."""
    return '| ' + ' | '.join(escaped(cell) for cell in cells) + ' |'


def escaped(text: str) -> str:
    """Returns a text that Markdown shows as it is."""
    for mark in '\\`*[]<>|#':
        text = text.replace(mark, f'\\{mark}')
    return ' '.join(text.split())


def problems(summary: Summary) -> list[str]:
    """Returns a line for every run that did not end well."""
    return [
        f'{row.row.label}, seed {result.seed}: {result.state}: {result.reason}'
        for row in summary.rows
        for result in row.results
        if result.reason
    ]


def title_of(row: RowSummary) -> str:
    """Returns the label, with the --cfg where that differs."""
    return row.row.label if row.row.label == row.row.cfg else f'{row.row.label} ({row.row.cfg})'


def interval_of(row: RowSummary) -> str:
    """Returns the interval of the mean of the metric that decides."""
    if row.standing is None or row.standing.interval is None:
        return '-'
    low, high = row.standing.interval
    return f'{low:.4g} to {high:.4g}'


def ratio_of(row: RowSummary, verdict: Verdict | None) -> str:
    """Returns the difference to the best row with its interval."""
    standing = row.standing
    if verdict is None or standing is None or standing.ratio is None or standing.ratio_interval is None:
        return '-'
    low, high = map(verdict.amount, standing.ratio_interval)
    return f'{verdict.amount(standing.ratio)} ({low} to {high})'


def status_of(row: RowSummary, summary: Summary) -> str:
    """Returns the place in the verdict in a word."""
    if any(row.row.label in rung.dropped for rung in summary.rungs):
        return 'dropped'
    return '-' if row.standing is None else row.standing.status


def states_of(row: RowSummary) -> str:
    """Returns the states of the runs with their numbers, such as '2 done'."""
    states = [result.state for result in row.results]
    return ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))


def papers_of(row: RowSummary) -> str:
    """Returns the numbers of a row's paper."""
    return '; '.join(f'{paper.metric} {paper.value:g} ({paper.source})' for paper in row.row.paper) or '-'


def plus_minus(mean: float | None, std: float | None) -> str:
    """Returns a mean with its standard deviation."""
    return number(mean, '.4g') if std is None else f'{number(mean, ".4g")} ± {std:.2g}'


def number(value: float | None, digits: str) -> str:
    """Returns a number in a format, '-' for None."""
    return '-' if value is None else format(value, digits)


def millions(row: RowSummary, name: str, net: str) -> str:
    """Returns a size in millions.

    Args:
        row: The row.
        name: 'parameters' or 'macs'.
        net: 'G' or 'D'.
    """
    return '-' if row.sizes is None else f'{row.sizes[name][net] / 1e6:.2f} M'
