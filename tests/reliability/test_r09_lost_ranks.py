"""R9: a rank that is killed is replaced, the run trains again within 30 seconds, and ends with the same bits."""

import time

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.patience import stretched

pytestmark = pytest.mark.slow

KILL = 'SIGKILL'


@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_rank_is_replaced_and_no_bit_is_lost(run, undisturbed_by_two, rank):
    """By the engine itself, within one command. Rank 0 is the one that writes.

    The seconds are those of interpreters that start again; the processes of the other case are forked.
    """
    struck = run('--deterministic=1', '--gpus=2', '--max-restarts=1', plan=[('phase', 9, f'{KILL}@{rank}')])
    struck.interpreters = rank == 1
    launch = struck.launch()
    launch.watch(struck.reached)
    (reached,) = struck.reached()
    before = struck.num_lines()
    launch.watch(lambda: struck.num_lines() > before, patience_s=stretched(60))
    assert time.time() - reached['time'] <= stretched(30)
    assert launch.wait() == 0, launch.said()
    assert len(struck.launches) == 1
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)


def test_a_group_that_is_killed_as_a_whole_is_continued_by_the_same_command(run, undisturbed_by_two):
    """The launcher goes as well: in a step of either rank, and between the files of a state."""
    struck = run('--deterministic=1', '--gpus=2', '--workers=1')
    for moment in (('phase', 9, f'{KILL}@1'), ('flush', 6, f'{KILL}@0')):
        struck.strike(moment)
        launch = struck.launch()
        launch.watch(struck.all_struck)
        launch.kill(9)
        assert launch.wait() != 0
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)
