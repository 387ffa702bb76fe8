"""`python -m training.legacy`: a shim for `ganfoundry convert`."""

from dnnlib.command import run_command
from ganfoundry.commands.convert import main

if __name__ == '__main__':
    run_command(main)
