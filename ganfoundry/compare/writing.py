"""Files of a comparison: report.html, report.md, table.json, sheet.png and curves.png."""

from __future__ import annotations

import math
import shlex
import statistics
from pathlib import Path

from PIL import Image

from dnnlib.files import write_bytes, write_json
from ganfoundry.compare.results import Result
from ganfoundry.compare.samples import draw_sheet, save_sheet
from ganfoundry.compare.summary import RowSummary, Summary
from ganfoundry.compare.table import TextTable, cost_table, escaped, markdown, problems, result_table
from ganfoundry.report.blocks import Block, Command, Facts, Notice, Paragraph, Picture, Section, Table
from ganfoundry.report.charts import Chart, Series
from ganfoundry.report.embedding import data_uri, webp
from ganfoundry.report.page import page_html
from training.run.curve import draw_curves

TITLE = 'Comparison of generators'
BAND_NOTE = 'Line: mean over seeds; band: from the lowest to the highest seed.'


def write_summary(summary: Summary, out: Path) -> str:
    """Writes all files of a comparison and returns the Markdown.

    Args:
        summary: The comparison.
        out: Its folder.
    """
    sheet = draw_sheet(summary.strips)
    save_sheet(sheet, out / 'sheet.png')
    write_json(out / 'table.json', summary.record())
    curves = {row.row.label: points for row in summary.rows if (points := curves_of(row, summary.plan.metric))}
    if curves:
        draw_curves(curves, str(summary.plan.metric), out / 'curves.png')
    text = report_md(summary, has_curves=bool(curves))
    write_bytes(out / 'report.md', text.encode())
    write_bytes(out / 'report.html', report_html(summary, sheet).encode())
    return text


def sheet_note(summary: Summary) -> str:
    """Returns what the sheet shows."""
    labels = '; each column has the label of the real image above it' if summary.dataset.spec.label_dim else ''
    return f'Samples of seeds 0, 1, 2, ...{labels}.'


def curves_of(row: RowSummary, metric: str | None) -> list[list[tuple[float, float]]]:
    """Returns the curves of the runs of a row that have points."""
    return [result.curves[metric] for result in row.results if metric is not None and result.curves.get(metric)]


def lead(summary: Summary) -> str:
    """Returns the verdict as one paragraph, with the cost of the rows that may be the best."""
    if summary.verdict is None:
        return 'No metric was measured.'
    costs = [
        f'{row.row.label} {row.sizes["parameters"]["G"] / 1e6:.2f} M parameters in G, '
        f'{row.sec_per_kimg:.1f} s per kimg, {row.memory_gb:.2f} GB'
        for row in summary.rows
        if row.standing is not None and row.standing.status in ('best', 'tied')
        if row.sizes is not None and row.sec_per_kimg is not None and row.memory_gb is not None
    ]
    sentences = summary.verdict.sentences()
    return ' '.join([*sentences, f'They cost: {"; ".join(costs)}.'] if costs else sentences)


def settings(summary: Summary) -> str:
    """Returns the data and the budget of all runs in one line."""
    plan, spec = summary.plan, summary.dataset.spec
    budget = {
        'kimg': f'{plan.kimg} kimg per run',
        'hours': f'{plan.hours:g} hours per run' if plan.hours else '',
        'macs': f'the multiply-adds of {plan.kimg} kimg of {plan.rows[0].label} per run',
    }[plan.budget]
    return (
        f'{summary.dataset.name}, {spec.num_images} images of {spec.width}x{spec.height}'
        f'{f", {spec.label_dim} classes" if spec.label_dim else ""}; {budget}, batch {plan.batch}; '
        f'seeds {", ".join(map(str, plan.seeds))}; {plan.jobs} at a time, {plan.threads} CPU thread(s) each'
    )


def command_line(summary: Summary) -> str:
    """Returns the command that made the comparison."""
    return f'python compare.py {shlex.join(summary.plan.command)}'


def report_md(summary: Summary, *, has_curves: bool) -> str:
    """Returns the report in Markdown."""
    lines = [f'# {TITLE}', '', escaped(settings(summary)) + '.', '', f'**{escaped(lead(summary))}**', '']
    lines += markdown(result_table(summary))
    lines += ['', '## Cost', '', *markdown(cost_table(summary))]
    if summary.rungs:
        lines += ['', '## Halving', '', *(f'- {escaped(rung.text())}' for rung in summary.rungs)]
    if found := problems(summary):
        lines += ['', '## Runs that did not end well', '', *(f'- {escaped(line)}' for line in found)]
    if has_curves:
        lines += ['', '## Curves', '', '![metric over kimg, one line per run](curves.png)']
    lines += ['', '## Samples', '', sheet_note(summary), '', '![samples of the same seeds](sheet.png)']
    fence = '````' if '```' in command_line(summary) else '```'
    return '\n'.join([*lines, '', '## Command', '', fence, command_line(summary), fence, ''])


def report_html(summary: Summary, sheet: Image.Image) -> str:
    """Returns the report as one file of HTML.

    Args:
        summary: The comparison.
        sheet: Its samples.
    """
    results: list[Block] = [block_of(result_table(summary))]
    results += [Notice(text=line) for line in problems(summary)]
    charts: list[Block] = [chart for metric in summary.plan.metrics if (chart := chart_of(summary, metric))]
    picture = Picture(uri=data_uri(webp(sheet)), alt='Samples of every row', caption=sheet_note(summary))
    plan = summary.plan
    facts = Facts(
        pairs=[
            ('data', summary.dataset.name),
            ('metrics', ', '.join(plan.metrics) or 'none'),
            ('seeds', ', '.join(map(str, plan.seeds))),
            *((row.row.label, shlex.join([f'--cfg={row.row.cfg}', *row.row.flags])) for row in summary.rows),
        ]
    )
    return page_html(
        TITLE,
        [
            Section(title='Result', blocks=results),
            Section(title='Curves', blocks=charts),
            Section(title='Samples', blocks=[picture]),
            Section(title='Cost', blocks=[block_of(cost_table(summary))]),
            Section(title='Halving', blocks=[Paragraph(text=rung.text()) for rung in summary.rungs]),
            Section(title='Settings', blocks=[Paragraph(text=settings(summary) + '.'), facts]),
            Section(title='Command', blocks=[Command(text=command_line(summary))]),
        ],
        lead=lead(summary),
    )


def block_of(table: TextTable) -> Table:
    """Returns a table as a block of a page."""
    return Table(headers=table.headers, rows=table.rows, caption=table.note)


def chart_of(summary: Summary, metric: str) -> Chart | None:
    """Returns the curves of a metric, one per row with its band; None without any point."""
    series = [
        line
        for k, row in enumerate(summary.rows)
        if (line := series_of(row.row.label, row.results, metric, color=k)) is not None
    ]
    return Chart(title=metric, series=series, note=BAND_NOTE) if series else None


def series_of(label: str, results: tuple[Result, ...], metric: str, *, color: int) -> Series | None:
    """Returns the mean over seeds of a metric and its band; None without points.

    Args:
        label: Name of the row.
        results: Its runs.
        metric: The metric.
        color: Index of its color.
    """
    values: dict[float, list[float]] = {}
    for result in results:
        for kimg, value in result.curves.get(metric, []):
            if math.isfinite(value):
                values.setdefault(kimg, []).append(value)
    if not values:
        return None
    kimgs = sorted(values)
    return Series(
        name=label,
        x=kimgs,
        y=[statistics.mean(values[kimg]) for kimg in kimgs],
        low=[min(values[kimg]) for kimg in kimgs],
        high=[max(values[kimg]) for kimg in kimgs],
        color=color,
    )
