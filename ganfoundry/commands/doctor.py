"""`ganfoundry doctor`: a report on this machine."""

from __future__ import annotations

import click

from ganfoundry.command_options import CONTEXT


@click.command(context_settings=CONTEXT)
def main() -> None:
    """Report what this machine offers for training.

    Prints one line per subject; a line that begins with !! ends with a remedy. Takes a few seconds, changes nothing,
    downloads nothing and builds nothing.
    """
    from torch_utils.doctor import main as report

    report()
