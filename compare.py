"""Compare generators: `ganfoundry.commands.compare` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.compare import main

if __name__ == '__main__':
    run_command(main)
