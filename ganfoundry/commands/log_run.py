"""`log_run.py` and `ganfoundry log-run`: the options of sending a run to a logger."""

from __future__ import annotations

import sys
from typing import Any

import click

from dnnlib.paths import user_path
from ganfoundry.choices import Choice
from ganfoundry.command_options import CONTEXT


@click.command(context_settings=CONTEXT)
@click.argument('run', type=user_path, metavar='RUN_DIR')
@click.option(
    '--to',
    help='Logger: wandb, mlflow, trackio, tensorboard, the name of an installed one, or a class of your own.',
    required=True,
    metavar='NAME|MODULE:CLASS',
)
@click.option('--follow', help='Continue while the run trains.', is_flag=True)
@click.option(
    '--mode',
    help='Send to a server, or write to the run folder.  [default: what the logger is set to]',
    type=Choice(['online', 'offline']),
)
def main(**options: Any) -> None:
    """Send the records of a run to a logger.

    These are the numbers of each tick, metrics, sheets and the config.

    \b
    python log_run.py latest --to=wandb                          what was not sent yet
    python log_run.py runs/00003-ffhq256-squeeze --to=mlflow --follow
    python log_run.py latest --to=tensorboard                    a run that was trained without it
    python log_run.py latest --to=my_logger:MyLogger             a class of your own

    RUN_DIR is a run folder, or latest. Nothing is sent twice: RUN_DIR/log-NAME.json has the position.
    """
    from ganfoundry.loggers.send import LogOptions, run_log

    if code := run_log(LogOptions(**options)):
        sys.exit(code)
