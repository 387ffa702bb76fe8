"""`python -m training.legacy`: a shim for `ganfoundry convert`."""

from dnnlib.errors import run_command
from ganfoundry.commands.convert import main

if __name__ == '__main__':
    run_command(main)
