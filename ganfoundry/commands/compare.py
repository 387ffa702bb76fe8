"""`compare.py` and `ganfoundry compare`: the options of a comparison of generators."""

from __future__ import annotations

import sys
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT
from ganfoundry.help_sections import SectionCommand, section

_rows = section('Rows')
_budget = section('Budget')
_measured = section('Measurement')
_machine = section('Machine')


@click.command(cls=SectionCommand, context_settings=CONTEXT)
@_rows('--cfgs', help='Comma list of --cfg names or of LABEL=CFG; all: every one.', metavar='NAMES')
@_rows('--plan', help='Plan in TOML: rows, seeds, metrics, budget.', type=user_path, metavar='FILE')
@_rows('--set', 'sets', help='Set a config field, of one row or of all.', multiple=True, metavar='[LABEL:]A.B=C')
@_rows('--flag', 'flags', help='Flag of train.py, of one row or of all.', multiple=True, metavar='[LABEL:]--A=B')
@_rows('--small', help='Reduced widths, for CPUs.', is_flag=True, default=None)
@_rows('--data', help='Images: a zip or a folder.  [default: the embedded data set]', type=user_path, metavar='PATH')
@_rows('--cond', help='Train on the labels of dataset.json.  [default: 0]', type=bool, metavar='BOOL')
@_rows('--resolution', help='Train at a lower resolution.', type=int, metavar='INT')
@_rows('--plugin', help='Python file that registers more --cfg names.', multiple=True, type=user_path, metavar='FILE')
@_budget('--seeds', help='Training seeds; every row is trained from each.  [default: 0]', metavar='0,1,5-7')
@_budget('--kimg', help='Length of a run in thousands of images.  [default: 20]', type=click.IntRange(1))
@_budget('--batch', help='Images per step.  [default: 16]', type=click.IntRange(1))
@_budget(
    '--budget',
    help='What is equal in all runs: kimg; hours, as many as --hours says; or macs, the multiply-adds that the first '
    'row needs for --kimg.  [default: kimg]',
    type=Choice(['kimg', 'hours', 'macs']),
)
@_budget('--hours', help='Wall time of a run.', type=click.FloatRange(0, min_open=True), metavar='H')
@_budget(
    '--halving',
    help='Drop rows after a quarter and after half of the length: noise, those that are significantly worse and in '
    'the lower half; strict, the lower half.  [default: off; without a value: noise]',
    type=Choice(['off', 'noise', 'strict']),
    is_flag=False,
    flag_value='noise',
)
@_measured('--metric', help='Comma list; the first one decides; or none.  [default: fd_efflite2k]', metavar='NAMES')
@_measured('--images', help='Largest number of images that a metric generates.', type=click.IntRange(2))
@_measured('--measurements', help='Measurements in the course of a run.  [default: 8]', type=click.IntRange(3))
@_machine('--out', help='Folder of the runs and of the report.  [default: runs/compare]', type=user_path, metavar='DIR')
@_machine('--jobs', help='Number of simultaneous runs.  [default: one per GPU]', type=click.IntRange(1))
@_machine('--threads', help='CPU threads of a run.  [default: cores / jobs]', type=click.IntRange(1))
@_machine('--launcher', help="Words before the command of a run, such as 'srun --gres=gpu:1'.", metavar='WORDS')
@_machine('--precision', help='Arithmetic of every run; as train.py takes it.', metavar='NAME')
@_machine('--device', help='cpu or cuda.  [default: the best available]', metavar='NAME')
@_machine('-n', '--dry-run', help='Print rows, commands and cost; then stop.', is_flag=True)
def main(**options: Any) -> None:
    """Compare generators on your data, with a verdict.

    Trains every row from every seed under one budget, and writes a table, a verdict and a report. The same command
    again trains what is missing.

    \b
    python compare.py --cfgs=squeeze,stylegan2,igan,giu --data=art64.zip --kimg=1000 --seeds=0-2
    python compare.py --cfgs=all --data=art64.zip --kimg=1000 --seeds=0-2 --halving
    python compare.py --cfgs=r2=squeeze,r4=squeeze --set=r4:generator.ratio=4 --seeds=0-2 --small
    python compare.py --plan=plans/six_drawings.toml --dry-run
    """
    from dnnlib.provenance import public_argv
    from ganfoundry.compare.options import CompareOptions
    from ganfoundry.compare.race import run_comparison

    if code := run_comparison(CompareOptions(**options), public_argv()[1:]):
        sys.exit(code)
