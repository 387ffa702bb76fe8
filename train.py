"""Train an image GAN: `ganfoundry.commands.train` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.train import main

if __name__ == '__main__':
    run_command(main)
