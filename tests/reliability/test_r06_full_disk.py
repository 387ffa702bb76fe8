"""R6: a full disk loses nothing; a warning names the bytes that are needed; training continues and tries again."""

import contextlib
import re
import resource

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.runs import last_state, losses
from torch_utils.checkpoint import newest_state

pytestmark = pytest.mark.slow

FREE = resource.RLIM_INFINITY


@contextlib.contextmanager
def fill(launch, size=20_000):
    """Limits the files of a launch to `size` bytes, which is a full disk to the writer."""
    resource.prlimit(launch.pid, resource.RLIMIT_FSIZE, (size, FREE))
    yield
    resource.prlimit(launch.pid, resource.RLIMIT_FSIZE, (FREE, FREE))


def test_the_state_before_is_whole_and_the_run_ends_as_any_other(run, undisturbed):
    struck = run()
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_states() >= 1)
    with fill(launch):
        assert launch.watch(lambda: 'not saved' in launch.said())
        newest_state(struck.folder / 'state', lambda text: None)
    assert launch.wait() == 0, launch.said()
    assert re.search(
        r'WARNING: \S+: not saved \(.*\); a training state takes [\d.]+ \wB, [\d.]+ \wB is free', launch.said()
    )
    assert not list(struck.folder.rglob('*.tmp-*'))
    assert fingerprint(struck.folder, guardian=False) == fingerprint(undisturbed, guardian=False)


def test_every_kind_of_write_may_fail_and_is_named(run, undisturbed):
    """Network file, sheet, state, a line of statistics: a warning each, and training continues."""
    struck = run(plan=[('line', 2, 'full'), ('sheet', 1, 'full'), ('snapshot', 1, 'full'), ('state', 1, 'full')])
    launch = struck.launch()
    assert launch.wait() == 0, launch.said()
    assert struck.all_struck()
    assert launch.said().count('WARNING') == 4
    assert last_state(struck.folder) == last_state(undisturbed)
    assert [line for line in losses(undisturbed) if line not in losses(struck.folder)] == [losses(undisturbed)[1]]


def test_a_log_on_a_full_device_ends_no_run(run, undisturbed):
    """log.txt is /dev/full, to which nothing can ever be written."""
    struck = run(plan=[('phase', 6, 'SIGTERM')])
    assert struck.launch().wait() == 143
    (struck.folder / 'log.txt').unlink()
    (struck.folder / 'log.txt').symlink_to('/dev/full')
    assert struck.finish() == [0]
    assert fingerprint(struck.folder, guardian=False) == fingerprint(undisturbed, guardian=False)
