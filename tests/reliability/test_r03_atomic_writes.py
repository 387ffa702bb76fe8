"""R3: a writer that is killed at any moment leaves the old states, or the old ones and a new whole one."""

import random
import signal
import time

import pytest

from dnnlib.files import TMP_MARK
from tests.reliability.supervisor import fingerprint
from torch_utils.checkpoint import list_states, load_state, newest_state

pytestmark = pytest.mark.slow

NUM_KILLS = 200


def test_no_state_is_lost_by_200_kills_at_random(zygote, tmp_path):
    """Killed after up to 60 ms of writing, which is several states or a part of one."""
    draw, root, output, leftovers = random.Random(0), tmp_path / 'state', tmp_path / 'output.txt', 0
    for kill in range(NUM_KILLS):
        writer = zygote.start('tests.reliability.writers:write_states', str(root), output=output)
        if kill == 0:
            writer.watch(lambda: root.exists() and list_states(root))
        time.sleep(draw.uniform(0, 0.06))
        writer.kill(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
        promised = output.read_text().split()[-1]  # what was said to be saved
        newest = newest_state(root, lambda text: (_ for _ in ()).throw(AssertionError(text)))
        assert newest.name >= promised
        tensors, scalars = load_state(newest)
        assert all(float(tensors[f'w{i}'][0, 0]) == scalars['nimg'] + i for i in range(5))
        leftovers += len(list(root.glob(f'*{TMP_MARK}*')))
        assert len(list(root.glob(f'*{TMP_MARK}*'))) <= 1, 'the writer sweeps what the one before it left'
    assert leftovers > NUM_KILLS // 10, 'the kills hit no save'


def test_killed_before_every_file_operation_of_a_save(run, undisturbed):
    """Each flush of the second state's save in turn, and each rename; what is left over is swept."""
    operations = [('flush', n, 'SIGKILL') for n in range(1, 6)] + [('rename', n, 'SIGKILL') for n in range(1, 5)]
    struck = run(plan=[('state', 2, 'SIGKILL'), *operations])
    assert len(struck.finish()) == len(operations) + 2
    assert fingerprint(struck.folder) == fingerprint(undisturbed)
    assert not list(struck.folder.rglob(f'*{TMP_MARK}*'))
