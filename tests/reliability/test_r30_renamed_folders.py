"""R30: a run folder may be renamed, and its lock file removed, while the run trains."""

import re
import shlex
import signal

import pytest

from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow


def test_a_renamed_run_saves_where_it_is_and_its_printed_command_continues_it(run, undisturbed):
    """The lock file is removed as well: a second process is refused all the same."""
    struck = run()
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_lines() >= 2)
    launch.kill(signal.SIGSTOP)  # so that it does not end meanwhile
    renamed = struck.outdir / '00007-renamed'
    struck.folder.rename(renamed)
    (renamed / '.lock').unlink()
    second = struck.launch(f'--resume={renamed}')
    assert second.wait() == 2
    assert 'another process trains in this folder: its .lock, which would name it, was removed' in second.said()
    launch.kill(signal.SIGTERM)
    launch.kill(signal.SIGCONT)
    assert launch.wait() == 143, launch.said()
    assert [path.name for path in struck.outdir.iterdir()] == ['00007-renamed']
    assert f'the run folder is now {renamed}' in launch.said()
    (command,) = re.findall('^continue: python train.py (.*)$', launch.said(), flags=re.MULTILINE)
    words = shlex.split(command)
    assert words[0] == f'--resume={renamed}'
    assert any(word.startswith('--plugin=') and word.endswith('moments.py') for word in words)
    again = struck.launch(*words)
    assert again.wait() == 0, again.said()
    assert 'WARNING' not in again.said()
    assert fingerprint(renamed) == fingerprint(undisturbed)
