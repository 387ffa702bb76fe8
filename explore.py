"""Explore a trained network in a browser: `ganfoundry.commands.explore` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.explore import main

if __name__ == '__main__':
    run_command(main)
