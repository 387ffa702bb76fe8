"""R16: launches at the same moment get folders of their own, and one folder is never trained in twice."""

import contextlib
import json
import signal
import socket

import pytest

from tests.reliability.conftest import EVERYTHING
from tests.reliability.supervisor import MOMENTS

pytestmark = pytest.mark.slow


def start(zygote, tmp_path, data, name, *flags):
    """Starts a training process without --resume=auto.

    Args:
        zygote: The process from which it is forked.
        tmp_path: Folder of runs and outputs.
        data: Data set.
        name: The output goes to NAME.txt.
        flags: Further flags.
    """
    args = (f'--outdir={tmp_path / "runs"}', f'--data={data}', *EVERYTHING, *flags, f'--plugin={MOMENTS}')
    (tmp_path / 'plan.json').write_text('[]')
    env = {'RELIABILITY_PLAN': str(tmp_path / 'plan.json')}
    return zygote.start('tests.reliability.supervisor:train', *args, output=tmp_path / f'{name}.txt', env=env)


def test_eight_launches_at_once_make_eight_folders(zygote, tmp_path, data):
    launches = [start(zygote, tmp_path, data, i) for i in range(8)]
    configs = lambda: list((tmp_path / 'runs').glob('*/config.json'))  # noqa: E731
    for launch in launches:
        launch.watch(lambda launch=launch: 'run folder' in launch.said())
        with contextlib.suppress(ProcessLookupError):  # a run that has ended meanwhile has made its folder too
            launch.kill(signal.SIGKILL, group=True)
        assert launch.wait() in (-signal.SIGKILL, 0), launch.said()
    assert sorted(path.parent.name[:5] for path in configs()) == [f'{i:05d}' for i in range(8)]
    assert all(json.loads(path.read_text())['config']['cfg'] == 'squeeze' for path in configs())
    folders = {launch.said().split('run folder ')[1].split(',')[0] for launch in launches}
    assert folders == {str(path.parent) for path in configs()}


def test_of_two_resumes_of_one_run_the_second_is_refused(zygote, tmp_path, data):
    """The message names the owner; after the owner is killed, the next is let in."""
    first = start(zygote, tmp_path, data, 'first')
    assert first.watch(lambda: list((tmp_path / 'runs').glob('*/state/0*')))
    (folder,) = (tmp_path / 'runs').glob('0*')
    second = start(zygote, tmp_path, data, 'second', f'--resume={folder}')
    assert second.wait() == 2
    assert f'another process trains in this folder: pid {first.pid} on {socket.gethostname()}' in second.said()
    first.kill(signal.SIGKILL)
    first.wait()
    third = start(zygote, tmp_path, data, 'third', f'--resume={folder}')
    assert third.watch(lambda: 'continuing from' in third.said())
    third.kill(signal.SIGKILL, group=True)
    third.wait()
