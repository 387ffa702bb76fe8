"""Tests of errors for users: one line on stderr, exit code 2; everything else keeps its traceback."""

import pytest

from dnnlib.errors import CheckpointError, ConfigError, UnsafeModelFile, UserError, run_command


def fail(error):
    raise error


@pytest.mark.parametrize(('rank', 'who'), [(None, ''), ('0', ''), ('3', ' (rank 3)')])
def test_a_user_error_is_one_line_and_exit_code_2(monkeypatch, capsys, rank, who):
    monkeypatch.delenv('RANK', raising=False)
    if rank is not None:
        monkeypatch.setenv('RANK', rank)
    with pytest.raises(SystemExit) as stopped:
        run_command(lambda: fail(ConfigError('--batch=0:\n  must be positive')))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f'Error{who}: --batch=0: must be positive\n'


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_command(lambda: fail(KeyError('x')))


def test_an_unsafe_file_is_a_checkpoint_and_a_user_error():
    assert issubclass(UnsafeModelFile, CheckpointError)
    assert issubclass(CheckpointError, UserError)
