"""Mix the styles of images: `ganfoundry.commands.style_mixing` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.style_mixing import main

if __name__ == '__main__':
    run_command(main)
