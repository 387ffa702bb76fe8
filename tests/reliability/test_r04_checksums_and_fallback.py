"""R4: damage anywhere in a state is found, named and stepped over; every single flipped bit is found."""

import shutil

import numpy as np
import pytest

from tests.reliability.supervisor import fingerprint, flip_bit, truncate
from torch_utils.checkpoint import MANIFEST, SCALARS, TENSORS, list_states, newest_state

pytestmark = pytest.mark.slow

BITS = 300  # sampled in each file


@pytest.fixture
def states(undisturbed, tmp_path):
    """A copy of the states of a real run."""
    return shutil.copytree(undisturbed / 'state', tmp_path / 'state')


def fallback(states, file):
    """Returns the state that is taken and the only warning."""
    warnings = []
    taken = newest_state(states, warnings.append)
    (warning,) = warnings
    assert str(list_states(states)[-1] / file) in warning
    return taken, warning


def test_every_sampled_bit_flip_is_found(states):
    """In the header, among the tensors, in the scalars and in the manifest."""
    newest, before = list_states(states)[-1], list_states(states)[-2]
    draw, found = np.random.default_rng(0), 0
    for file in (TENSORS, SCALARS, MANIFEST):
        path = newest / file
        whole = path.read_bytes()
        header = range(8 * 64) if file == TENSORS else range(0)
        for bit in {*header, *map(int, draw.integers(len(whole) * 8, size=BITS))}:
            flip_bit(path, bit)
            warnings = []
            taken = newest_state(states, warnings.append)
            # White space and unused keys of the manifest carry no meaning: the state is whole, and taken.
            harmless = file == MANIFEST and taken == newest
            assert taken == before or harmless
            found += taken == before
            path.write_bytes(whole)
    assert found >= 2 * BITS


@pytest.mark.parametrize('file', [TENSORS, SCALARS, MANIFEST])
def test_truncated_at_ten_sizes_emptied_and_missing(states, file):
    before, path = list_states(states)[-2], list_states(states)[-1] / file
    whole = path.read_bytes()
    for size in [len(whole) * i // 10 for i in range(10)] + [len(whole) - 2]:
        truncate(path, size)
        assert fallback(states, file)[0] == before
        path.write_bytes(whole)
    path.unlink()
    taken, warning = fallback(states, file)
    assert taken == before
    assert 'missing' in warning or 'absent' in warning


def test_a_run_steps_over_a_damaged_state_and_ends_with_the_same_bits(run, undisturbed):
    struck = run(plan=[('phase', 14, 'SIGTERM')])
    assert struck.launch().wait() == 143
    newest = list_states(struck.folder / 'state')[-1]
    flip_bit(newest / TENSORS, -1)
    launch = struck.launch()
    assert launch.wait() == 0, launch.said()
    assert f'{newest / TENSORS}: damaged' in launch.said()
    assert 'falling back to the state before it' in launch.said()
    assert f'continuing from {newest.parent}' in launch.said()
    assert fingerprint(struck.folder) == fingerprint(undisturbed)


def test_a_run_without_a_whole_state_says_so(run):
    struck = run(plan=[('phase', 8, 'SIGTERM')])
    assert struck.launch().wait() == 143
    for state in list_states(struck.folder / 'state'):
        truncate(state / TENSORS, 10)
    launch = struck.launch()
    assert launch.wait() == 2
    assert 'damaged state(s) and no intact one; start a new run without --resume' in launch.said()
