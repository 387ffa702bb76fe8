"""Tests of the watchdog; test_distributed.py tests processes that hang together."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from torch_utils.watchdog import Watchdog


def test_a_limit_names_the_task_and_returns_the_one_before():
    dog = Watchdog('rank 0 of 1', 1000)
    try:
        assert dog.where == 'the start'
        assert dog.limit(2000, 'metrics') == 1000
        assert dog.where == 'metrics'
        dog.beat('step 3')
        assert dog.where == 'step 3'
        assert dog.limit(1000, 'after metrics') == 2000
    finally:
        dog.end()


def test_the_start_and_the_end_of_an_operation_are_signs_of_life():
    dog = Watchdog('rank 0 of 1', 60)
    for operation in ('all-reduce', ''):
        before = dog._since
        time.sleep(0.01)
        dog.enter(operation)
        assert dog._since > before
    dog.end()


@pytest.mark.slow
def test_a_process_without_progress_ends_and_says_where():
    code = (
        'import time\nfrom torch_utils.watchdog import Watchdog\n'
        'dog = Watchdog("rank 1 of 2", 0.3)\ndog.beat("step 7")\ndog.enter("all-reduce of x")\ntime.sleep(60)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 1
    said = r'rank 1 of 2: no progress for \d+ s \(--timeout=0.3\) at step 7, waiting in all-reduce of x'
    assert re.search(said, done.stderr)
    assert 'line 6 in <module>' in done.stderr  # the line that sleeps
