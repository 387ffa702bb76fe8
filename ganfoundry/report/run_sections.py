"""Sections of the report of one or more runs, apart from charts and sheets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from dnnlib.errors import UserError
from dnnlib.log import counted, format_time
from ganfoundry.report.blocks import (
    Block,
    Command,
    Facts,
    Fold,
    Notice,
    Paragraph,
    Preformatted,
    Section,
    Sheets,
    Table,
)
from ganfoundry.report.run_charts import HEALTH, TickChart, metric_charts
from ganfoundry.report.run_commands import repeat_command, resume_command
from ganfoundry.report.run_config import ABSENT, config_rows, differences_of, flat
from ganfoundry.report.run_log import LoggedWarning
from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.run_state import RunState, sec_per_kimg, state_of

CROPPED = 'Sheets are shown in part, their first rows and columns; --full shows them whole.'
MAX_WARNINGS = 50  # newest warnings of a run that are shown
CHART_SECTIONS = ('Losses', 'Discriminator', 'Health', 'Speed and memory')


def title_of(runs: Sequence[RunReading]) -> str:
    """Returns the title of the page."""
    return runs[0].name if len(runs) == 1 else f'{len(runs)} runs'


def lead_of(runs: Sequence[RunReading]) -> str:
    """Returns the sentence below the title: the state of the run, or the number of runs in each state."""
    states = [state_of(run) for run in runs]
    if len(runs) == 1:
        return states[0].sentence
    kinds = sorted(state.kind for state in states)
    return ', '.join(f'{len(list(group))} {kind}' for kind, group in itertools.groupby(kinds)) + '.'


def text_sections(runs: Sequence[RunReading]) -> dict[str, Section]:
    """Returns the sections without charts and sheets, by their titles; a live page replaces them as they change."""
    states = [state_of(run) for run in runs]
    blocks: dict[str, list[Block]] = {
        'Overview': _overview(runs, states),
        'Differences': _differences(runs),
        'Warnings': _each(runs, _warnings),
        'Plan and config': _each(runs, _plan),
        'Provenance': _each(runs, _provenance),
        'Commands': [block for run, state in zip(runs, states, strict=True) for block in _commands(run, state, runs)],
    }
    return {title: Section(title=title, blocks=found) for title, found in blocks.items()}


def all_sections(runs: Sequence[RunReading], charts: Sequence[TickChart], note: str) -> list[Section]:
    """Returns all sections of the page, in their order.

    Args:
        runs: The runs.
        charts: Their charts over the ticks.
        note: Sentence on the sheets.
    """
    text = text_sections(runs)
    sheets: list[Block] = []
    if any(run.sheets for run in runs):
        sheets = [Sheets(), *([Paragraph(text=note)] if note else [])]
    drawn = {title: [chart.chart(runs) for chart in charts if chart.section == title] for title in CHART_SECTIONS}
    metrics: list[Block] = [*metric_charts(runs)] or [Paragraph(text='No metric was measured yet.')]
    health: list[Block] = [*_each(runs, _health), *drawn.pop('Health')]
    return [
        text['Overview'],
        text['Differences'],
        text['Warnings'],
        Section(title='Sheets', blocks=sheets),
        Section(title='Metrics', blocks=metrics),
        *(Section(title=title, blocks=drawn[title]) for title in ('Losses', 'Discriminator')),
        Section(title='Health', blocks=health),
        Section(title='Speed and memory', blocks=drawn['Speed and memory']),
        text['Plan and config'],
        text['Provenance'],
        text['Commands'],
    ]


def _each(runs: Sequence[RunReading], make: Any) -> list[Block]:
    """Returns the blocks of every run; of several runs, those of each in a fold with its name."""
    made = [make(run) for run in runs]
    if len(runs) == 1:
        return list(made[0])
    return [Fold(title=run.name, blocks=blocks) for run, blocks in zip(runs, made, strict=True) if blocks]


def _overview(runs: Sequence[RunReading], states: Sequence[RunState]) -> list[Block]:
    blocks: list[Block] = []
    for run, state in zip(runs, states, strict=True):
        name = '' if len(runs) == 1 else run.name
        if run.problem:
            blocks.append(Notice(text=run.problem, label=name, level='error'))
        blocks += [Notice(text=text, label=name, level='error') for text in run.log.errors]
        if state.kind in ('diverged', 'lost'):
            blocks.append(Notice(text=state.sentence, label=name, level='error'))
    if len(runs) == 1:
        return [*blocks, Facts(pairs=_facts(runs[0]))]
    columns = [dict(_facts(run)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [
        [run.name, state.sentence, *(column.get(name, ABSENT) for name in names)]
        for run, state, column in zip(runs, states, columns, strict=True)
    ]
    return [*blocks, Table(headers=['run', 'state', *names], rows=rows)]


def _facts(run: RunReading) -> list[tuple[str, str]]:
    pairs = [('Recipe', config_rows(run.record).get('cfg', ABSENT))]
    if run.best is not None:
        best = run.best
        pairs.append(('Best snapshot', f'{best.snapshot}, {best.metric} {best.value:.4g} at {best.nimg / 1000:g} kimg'))
    else:
        pairs.append(('Best snapshot', 'none was measured'))
    if (speed := sec_per_kimg(run)) is not None:
        pairs.append(('Speed', f'{speed:.3g} s per kimg, with what is between ticks'))
    if (seconds := run.ticks.last('Timing/total_sec')) is not None:
        pairs.append(
            ('Training time', f'{format_time(seconds)} in {counted(max(run.log.launches, 1), "launch", "launches")}')
        )
    memory = [
        f'{value:.3g} GiB {device}'
        for device, name in (('CPU', 'Resources/cpu_mem_gb'), ('GPU', 'Resources/peak_gpu_mem_gb'))
        if (value := run.ticks.last(name)) is not None
    ]
    if memory:
        pairs.append(('Peak memory', ', '.join(memory)))
    pairs.append(('Folder', str(run.folder.path)))
    return pairs


def _differences(runs: Sequence[RunReading]) -> list[Block]:
    if len(runs) == 1:
        return []
    rows = differences_of(runs)
    if not rows:
        return [Paragraph(text='The records of the runs are equal.')]
    return [Table(headers=['field', *(run.name for run in runs)], rows=rows)]


def _warnings(run: RunReading) -> list[Block]:
    guardians = [warning for warning in run.log.warnings if warning.is_guardians]
    others = [_notice(warning) for warning in run.log.warnings if not warning.is_guardians]
    blocks: list[Block] = [_notice(warning) for warning in guardians[-MAX_WARNINGS:]]
    if others:
        hidden = f', the newest {MAX_WARNINGS}' if len(others) > MAX_WARNINGS else ''
        blocks.append(Fold(title=f'{counted(len(others), "other warning")}{hidden}', blocks=others[-MAX_WARNINGS:]))
    return blocks


def _notice(warning: LoggedWarning) -> Notice:
    label = f'At {warning.kimg} kimg:' if warning.kimg else ''
    again = f' ({warning.count} times)' if warning.count > 1 else ''
    if not warning.is_guardians or not warning.advice:
        return Notice(text=warning.text + again, label=label)
    return Notice(text=f'{warning.symptom}{again}. Advice: {warning.advice}.', label=label)


def _health(run: RunReading) -> list[Block]:
    counts = {title: run.ticks.series(stat)[1] for title, stat in HEALTH.items() if stat in run.ticks.names()}
    if not counts:
        return []
    quiet = [title.lower() for title, values in counts.items() if not values.any()]
    blocks: list[Block] = [Paragraph(text=f'0 in every tick: {", ".join(quiet)}.')] if quiet else []
    if run.aside:
        rows = [[a.name, str(a.count), f'{a.first / 1000:g} to {a.last / 1000:g}'] for a in run.aside]
        caption = 'Lines that a rollback, or the resume of a killed run, has replaced'
        blocks.append(Table(headers=['file', 'lines', 'kimg'], rows=rows, caption=caption))
    return blocks


def _plan(run: RunReading) -> list[Block]:
    rows = [[path, value] for path, value in config_rows(run.record).items()]
    if not rows:
        return []
    return [
        *_schedule(run),
        Fold(title='Every field of the config', blocks=[Table(headers=['field', 'value'], rows=rows)]),
    ]


def _schedule(run: RunReading) -> list[Block]:
    from training.plan import describe_data, describe_schedule
    from training.record import from_record

    try:
        cfg, spec = from_record(run.record)
        return [Preformatted(text=f'{describe_data(cfg, spec)}\n{describe_schedule(cfg, spec)}')]
    except UserError as error:  # above all the recipe of a plug-in: no record loads code
        return [Paragraph(text=f'The plan cannot be described: {error}')]


def _provenance(run: RunReading) -> list[Block]:
    record = run.record
    names = {
        'Commit': 'commit',
        'Machine': 'machine',
        'Threads': 'threads',
        'Spinning of threads': 'spinning',
        'Operations': 'operations',
        'Run': 'run_id',
    }
    pairs = [(title, _text(record[name])) for title, name in names.items() if record.get(name) is not None]
    if isinstance(versions := record.get('versions'), dict):
        pairs.append(('Versions', ', '.join(f'{name} {_text(value)}' for name, value in versions.items())))
    if isinstance(data := record.get('data'), dict):
        pairs.append(('Digest of the data', _text(data.get('listing', ABSENT))))
    if isinstance(source := record.get('source'), dict):
        pairs.append(('First networks', ', '.join(f'{name} {_text(value)}' for name, value in source.items())))
    plugins = record.get('plugins', [])
    for plugin in [record.get('plugin'), *(plugins if isinstance(plugins, list) else [])]:
        if isinstance(plugin, dict):
            pairs.append(
                ('Module', f'{_text(plugin.get("module", ""))}, sha256 {_text(plugin.get("sha256", ABSENT))[:16]}')
            )
    return [Facts(pairs=pairs)] if pairs else []


def _text(value: Any) -> str:
    """Returns a value of a record as text."""
    if isinstance(value, dict):
        return ', '.join(f'{name} {text}' for name, text in flat(value).items())
    return value if isinstance(value, str) else json.dumps(value)


def _commands(run: RunReading, state: RunState, runs: Sequence[RunReading]) -> list[Block]:
    if run.is_empty:
        return []
    of = '' if len(runs) == 1 else f' {run.name}'
    blocks: list[Block] = []
    if (repeat := repeat_command(run)) is not None:
        blocks.append(Command(text=repeat, label=f'Repeats the run{of}:'))
    longer = state.kind == 'finished'
    blocks.append(
        Command(text=resume_command(run, state), label=f'{"Trains for longer" if longer else "Resumes the run"}{of}:')
    )
    if run.best is not None:
        draw = f'python generate.py --network={run.folder.path} --seeds=0-15'
        blocks.append(Command(text=draw, label=f'Draws with the best snapshot{of}:'))
    return blocks
