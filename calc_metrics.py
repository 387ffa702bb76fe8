"""Measure networks and finished images: `ganfoundry.commands.calc_metrics` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.calc_metrics import main

if __name__ == '__main__':
    run_command(main)
