"""R9: a rank that is killed is replaced, the run trains again within 30 seconds, and ends with the same bits."""

import time

import pytest

from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow

KILL = 'SIGKILL'


@pytest.mark.parametrize('rank', [0, 1])
def test_a_killed_rank_is_replaced_and_no_bit_is_lost(run, undisturbed_by_two, rank):
    """By the engine itself, within one command. Rank 0 is the one that writes."""
    struck = run('--deterministic=1', '--gpus=2', '--max-restarts=1', plan=[('phase', 9, f'{KILL}@{rank}')])
    sitting = struck.sit()
    sitting.watch(struck.reached)
    (reached,) = struck.reached()
    before = struck.num_lines()
    sitting.watch(lambda: struck.num_lines() > before, patience_s=60)
    assert time.time() - reached['time'] <= 30
    assert sitting.wait() == 0
    assert len(struck.sittings) == 1
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)


def test_a_group_that_is_killed_as_a_whole_is_continued_by_the_same_command(run, undisturbed_by_two):
    """The launcher goes as well: in a step of either rank, and between the files of a state."""
    struck = run('--deterministic=1', '--gpus=2', '--workers=1')
    for moment in (('phase', 9, f'{KILL}@1'), ('flush', 6, f'{KILL}@0')):
        struck.strike(moment)
        sitting = struck.sit()
        sitting.watch(struck.all_struck)
        sitting.kill(9)
        assert sitting.wait() != 0
    assert struck.finish() == [0]
    assert fingerprint(struck.folder) == fingerprint(undisturbed_by_two)
