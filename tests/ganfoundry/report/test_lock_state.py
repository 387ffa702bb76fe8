"""Whether a run trains, seen from outside."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dnnlib.folders import exclusive
from ganfoundry.report import lock_state as module
from ganfoundry.report.lock_state import lock_state

linux = pytest.mark.skipif(not module.LOCKS.exists(), reason='no /proc/locks')


@linux
def test_a_lock_is_seen_while_it_is_held_and_not_in_a_copy(tmp_path: Path):
    path = tmp_path / '.lock'
    assert lock_state(path).held is False
    with exclusive(path):
        shutil.copy(path, tmp_path / 'copy')
        assert lock_state(path).held is True
        assert lock_state(tmp_path / 'copy').held is False
    assert lock_state(path).held is False


@linux
def test_looking_takes_no_lock(tmp_path: Path):
    path = tmp_path / '.lock'
    path.touch()
    lock_state(path)
    with exclusive(path) as held:
        assert held


def test_the_lock_of_another_machine_cannot_be_known(tmp_path: Path):
    path = tmp_path / '.lock'
    path.write_text('pid 12 on elsewhere')
    assert lock_state(path) == module.LockState(held=None, host='elsewhere')


@pytest.mark.parametrize('text', ['', 'pid', 'pid x on y', '\x00' * 10_000])
def test_a_file_that_names_nobody_is_no_lock(tmp_path: Path, text: str):
    path = tmp_path / '.lock'
    path.write_text(text)
    assert lock_state(path).held is False
