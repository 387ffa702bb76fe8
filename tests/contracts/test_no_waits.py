"""The check for waits of the host, which tests on a GPU use, without a GPU."""

import warnings

import pytest
import torch

from tests.support.gpu import no_waits


@pytest.fixture
def modes(monkeypatch):
    """Returns the modes that have been set. Like PyTorch, the setter warns after it has set the mode."""
    found = []

    def set_mode(mode):
        found.append(mode)
        if found == ['error']:
            warnings.warn('Synchronization debug mode is a prototype feature', stacklevel=1)

    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', set_mode)
    return found


def test_the_warning_about_a_prototype_does_not_end_the_check(modes):
    with no_waits():
        assert modes == ['error']
    assert modes == ['error', 'default']


def test_the_mode_ends_with_the_check_also_after_an_error(modes):
    with pytest.raises(RuntimeError, match='waits'), no_waits():
        raise RuntimeError('the host waits')
    assert modes == ['error', 'default']
