"""Find the latents of an image: `ganfoundry.commands.projector` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.projector import main

if __name__ == '__main__':
    run_command(main)
