"""Export a trained network for other programs: `ganfoundry.commands.export` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.export import main

if __name__ == '__main__':
    run_command(main)
