"""Tests of exit codes under the launcher; tests/commands/test_distributed_run.py starts whole runs."""

import os

from torch_utils.launch import EXIT_FILE, leave


def test_under_the_launcher_a_run_that_ended_in_good_order_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.delenv(EXIT_FILE, raising=False)
    assert leave(143, 0) == 143
    monkeypatch.setenv(EXIT_FILE, str(tmp_path / 'code'))
    assert leave(143, 1) == 0
    assert not os.path.exists(tmp_path / 'code')
    assert leave(143, 0) == 0
    assert (tmp_path / 'code').read_text() == '143'
