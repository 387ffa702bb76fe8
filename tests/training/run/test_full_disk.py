"""Promises R6 and R21: no record that cannot be written, and no picture that cannot be drawn, ends a run."""

import errno
import io
import os

from dnnlib import files
from dnnlib.log import Log
from tests.support.faulty_runs import Run
from training.run.sheets import SampleSheet


def no_space(path, line):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_run_whose_records_are_all_lost_still_trains_and_saves(tmp_path, monkeypatch, capsys):
    run = Run(tmp_path / 'run', metrics=())
    (run.folder.path / 'log.txt').symlink_to('/dev/full')
    monkeypatch.setattr(files, 'append_line', no_space)
    state = run.go()
    assert state.nimg == 40
    assert run.folder.newest_state(lambda text: None).name == '000000040'
    assert 'stats.jsonl: cannot be written (No space left on device); training continues' in capsys.readouterr().out


def test_a_sheet_that_cannot_be_drawn_is_told_and_training_goes_on(tmp_path, monkeypatch):
    def draw_fakes(self, *args):
        raise RuntimeError('out of memory')

    run = Run(tmp_path / 'run')
    monkeypatch.setattr(SampleSheet, 'draw_fakes', draw_fakes)
    assert run.go().nimg == 40
    assert 'fakes_init.png: cannot be drawn (RuntimeError: out of memory); training continues' in run.log


class Broken(io.StringIO):
    """A terminal that is gone."""

    def write(self, text):
        raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_a_log_goes_on_without_its_terminal_and_without_its_file(tmp_path):
    (tmp_path / 'full.txt').symlink_to('/dev/full')
    for path, stream in ((tmp_path / 'log.txt', Broken()), (tmp_path / 'full.txt', io.StringIO())):
        log = Log(path, stream=stream)
        log.line('one')
        log.warn('two')
        log.close()
    assert (tmp_path / 'log.txt').read_text() == 'one\nWARNING: two\n'
    assert stream.getvalue() == 'one\nWARNING: two\n'
