"""The end of explore.py while its worker thread still draws."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.forks import environment

PROGRAM = """
import sys, time
import torch
from dnnlib.command import run_command
from ganfoundry.explore import run

class Busy(run.Renderer):
    def close(self):
        self.submit(multiply)
        time.sleep(0.3)
        return super().close(timeout_s=0.1)

def multiply(owned):
    x = torch.ones(1000, 1000)
    while True:
        x @ x

run.Renderer, run.Studio = Busy, lambda options: None
run.LocalServer.run = lambda server, app: sys.exit(130)
run_command(lambda: run.run_explore(run.ExploreOptions(network='none', port=0)))
"""


@pytest.mark.slow
def test_a_picture_that_is_still_drawn_does_not_change_the_exit_code():
    """Finalization of the interpreter would end the process with SIGABRT, because the thread is inside PyTorch."""
    done = subprocess.run([sys.executable, '-c', PROGRAM], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, '')
