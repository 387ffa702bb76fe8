"""Look inside networks: `ganfoundry.commands.inspect_network` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.inspect_network import main

if __name__ == '__main__':
    run_command(main)
