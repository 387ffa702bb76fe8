"""The options of report.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ganfoundry.commands.report import main
from ganfoundry.report import run_report
from ganfoundry.report.run_report import ReportOptions


def test_the_options_reach_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []
    monkeypatch.setattr(run_report, 'run_report', seen.append)
    args = ['a', 'b', '--out=c.html', '--full', '--watch', '--port=0', '--host=::1', '--allow_remote']
    assert CliRunner().invoke(main, args, catch_exceptions=False).exit_code == 0
    assert CliRunner().invoke(main, ['a'], catch_exceptions=False).exit_code == 0
    assert seen == [
        ReportOptions(
            runs=('a', 'b'), out='c.html', full=True, watch=True, port=0, host='::1', allow_remote=True
        ),
        ReportOptions(runs=('a',), out='report.html'),
    ]  # fmt: skip


def test_a_port_beyond_the_last_is_refused():
    done = CliRunner().invoke(main, ['a', '--port=70000'])
    assert done.exit_code == 2
