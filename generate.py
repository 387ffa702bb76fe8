"""Draw images with a trained network: `ganfoundry.commands.generate` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.generate import main

if __name__ == '__main__':
    run_command(main)
