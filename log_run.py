"""Send a run to W&B, MLflow, trackio or TensorBoard: `ganfoundry.commands.log_run` without installing the package."""

from dnnlib.command import run_command
from ganfoundry.commands.log_run import main

if __name__ == '__main__':
    run_command(main)
