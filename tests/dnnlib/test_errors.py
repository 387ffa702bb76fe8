"""Tests of the kinds of errors for users."""

from dnnlib.errors import CheckpointError, UnsafeModelFile, UserError


def test_an_unsafe_file_is_a_checkpoint_and_a_user_error():
    assert issubclass(UnsafeModelFile, CheckpointError)
    assert issubclass(CheckpointError, UserError)
