"""R24: a run whose last state or snapshot could not be written says so, does not end with 0, and can be continued."""

import re
import resource
from pathlib import Path

import pytest

from tests.reliability.supervisor import fingerprint
from tests.support.loops import Scores, loops_in
from training import loop as training_loop
from training.loop import Loop


@pytest.fixture
def make_loop(tmp_path, monkeypatch):
    """Runs loops in a folder, as `loops_in` does."""
    monkeypatch.setattr(Loop, 'end_nimg', Loop.end_nimg)
    return loops_in(tmp_path)


def full(*args):
    raise OSError(28, 'No space left on device')


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_is_an_error_and_the_run_can_be_continued(run, undisturbed):
    struck = run()
    launch = struck.launch()
    assert launch.watch(lambda: struck.num_lines() >= 2)
    resource.prlimit(launch.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    assert launch.wait() == 74, launch.said()
    assert 'done:' not in launch.said()
    for name in ('state/000001056', 'network-snapshot-000001_056.safetensors'):
        assert f'Error: {struck.folder / name} could not be written' in launch.said()
    newest = max(int(path.name) for path in (struck.folder / 'state').iterdir())
    assert f'the newest state is of {newest / 1000:.2f} kimg' in launch.said()
    again = struck.launch(f'--resume={struck.folder}')
    assert again.wait() == 0
    assert Path(re.search(r'done: (.*)', again.said())[1]).is_file()
    assert fingerprint(struck.folder, guardian=False) == fingerprint(undisturbed, guardian=False)


@pytest.mark.slow
def test_a_state_that_cannot_be_saved_at_a_request_to_stop_is_an_error(run):
    struck = run(plan=[('phase', 9, 'SIGTERM'), ('state', 1, 'full')])
    launch = struck.launch()
    assert launch.wait() == 74
    assert 'continue: python train.py --resume=' in launch.said()


def test_a_resume_writes_a_network_file_that_is_missing(make_loop, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training_loop, 'save_snapshot', full)
        loop, complete = make_loop()
    path = loop.folder.snapshot(64)
    assert complete
    assert loop.saver.missing(complete=True) == [path]
    again, complete = make_loop()
    assert complete
    assert path.is_file()
    assert again.saver.missing(complete=True) == []


def test_a_file_of_an_earlier_moment_does_not_pass_for_the_one_that_failed(make_loop, monkeypatch):
    make_loop()
    folder = make_loop()[0].folder
    for state in sorted(folder.states.iterdir())[1:]:
        for file in state.iterdir():
            file.unlink()
        state.rmdir()
    monkeypatch.setattr(training_loop, 'save_snapshot', full)
    assert folder.snapshot(64).is_file()
    assert make_loop()[0].saver.missing(complete=True) == [folder.snapshot(64)]


def test_no_result_is_recorded_for_weights_that_could_not_be_written(make_loop, monkeypatch):
    monkeypatch.setattr(training_loop, 'save_snapshot', full)
    metric = Scores(*[1.0] * 9)
    make_loop(metric)
    assert metric.measured == 0
