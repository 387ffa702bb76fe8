"""Tests of the kinds of errors for users."""

from dnnlib.errors import CheckpointError, UnsafeModelFile, UserError, first_line


def test_an_unsafe_file_is_a_checkpoint_and_a_user_error():
    assert issubclass(UnsafeModelFile, CheckpointError)
    assert issubclass(CheckpointError, UserError)


def test_an_error_without_a_message_has_the_name_of_its_type():
    assert first_line(RuntimeError('\n one\ntwo')) == 'one'
    assert first_line(OSError()) == 'OSError'
