"""Convert images to a data set, or verify one: `ganfoundry.commands.dataset_tool` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.dataset_tool import main

if __name__ == '__main__':
    run_command(main)
