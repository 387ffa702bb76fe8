"""Make a film with a trained network: `ganfoundry.commands.gen_video` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.gen_video import main

if __name__ == '__main__':
    run_command(main)
