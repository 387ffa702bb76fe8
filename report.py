"""Report of a run as one page: `ganfoundry.commands.report` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.report import main

if __name__ == '__main__':
    run_command(main)
