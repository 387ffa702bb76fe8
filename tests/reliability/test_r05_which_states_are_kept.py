"""R5: the last states, the best one and every snapshot are kept; nothing goes before its successor is whole."""

import pytest

from dnnlib import files
from tests.reliability.supervisor import fingerprint
from tests.reliability.test_r06_full_disk import fill
from torch_utils.checkpoint import list_states, prune_states, save_state, verify_state
from training.run.run_folder import RunFolder

pytestmark = pytest.mark.slow


def names(root):
    return [path.name for path in list_states(root)]


@pytest.fixture
def root(tmp_path):
    """States at 1 to 5 images."""
    for n in range(1, 6):
        save_state(tmp_path, f'{n:09d}', {}, {'nimg': n})
    return tmp_path


def test_the_last_and_the_best_stay(root):
    prune_states(root, keep=2, protected={'000000002'}, warn=pytest.fail)
    assert names(root) == ['000000002', '000000004', '000000005']


def test_a_state_that_cannot_be_removed_is_a_warning(root, monkeypatch):
    monkeypatch.setattr(files, 'remove', lambda path: None)
    warnings = []
    prune_states(root, keep=4, protected=set(), warn=warnings.append)
    assert warnings == [f'{root / "000000001"}: cannot be removed']


def test_nothing_is_removed_while_no_new_state_can_be_written(run, undisturbed):
    """The disk is full for several ticks: the states from before are all still there, and whole."""
    struck = run('--keep=3')
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_states() >= 2)
    with fill(launch):
        before = names(struck.folder / 'state')
        assert launch.watch(lambda: launch.said().count('not saved') >= 2)
        assert set(before) <= set(names(struck.folder / 'state'))
        for state in list_states(struck.folder / 'state'):
            verify_state(state)
    assert launch.wait() == 0, launch.said()
    assert len(names(struck.folder / 'state')) == 3
    assert fingerprint(struck.folder) == fingerprint(undisturbed)


def test_every_snapshot_stays(undisturbed):
    """11 steps of 96 images, a tick every two, a snapshot every second tick."""
    names = [path.stem.removeprefix('network-snapshot-') for path in RunFolder(undisturbed).snapshots()]
    assert names == ['000000_096', '000000_480', '000000_864', '000001_056']
    assert len(list_states(undisturbed / 'state')) == 2
