"""`report.py` and `ganfoundry report`: the options of the report of a run."""

from __future__ import annotations

from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.command_options import CONTEXT


@click.command(context_settings=CONTEXT)
@click.argument('runs', nargs=-1, type=user_path, metavar='RUN [RUN2 ...]')
@click.option('--out', help='File to write.', default='report.html', show_default=True, type=user_path, metavar='FILE')
@click.option('--full', help='Sheets in their own size, however large the page.', is_flag=True)
@click.option('--watch', help='Serve the page, and update it while the run trains.', is_flag=True)
@click.option(
    '--port', help='Port of --watch, 0 for any.  [default: 8080, or the next free one]', type=click.IntRange(0, 65535)
)
@click.option('--host', help='Address of --watch.', default='127.0.0.1', show_default=True)
@click.option('--allow-remote', help='Let --host be an address that other machines can reach.', is_flag=True)
def main(**options: Any) -> None:
    """Write one page about a run, or about several.

    It has the state, sheets, curves, config and commands.

    \b
    python report.py latest
    python report.py runs/00003-ffhq256-squeeze runs/00004-ffhq256-stylegan2 --out=both.html
    python report.py latest --watch

    The page needs no other file and no network. The run may be training, dead, copied or half-written; nothing is
    written into it.
    """
    from ganfoundry.report.run_report import ReportOptions, run_report

    run_report(ReportOptions(**options))
