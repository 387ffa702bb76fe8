"""R29: a resume on a disk that cannot be read or written continues, or is refused in one sentence; nothing is lost."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from dnnlib import files
from dnnlib.errors import ConfigError
from tests.reliability.supervisor import contents, fingerprint, train_here
from tests.support.runs import call
from torch_utils.checkpoint import SCALARS, TENSORS, list_states

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(undisturbed, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(undisturbed, tmp_path / undisturbed.name)


def failing(monkeypatch, number, fails):
    """Makes os.open fail with an error number where `fails(path, flags)`."""
    opened = os.open

    def open_or_fail(path, flags, *args, **how):
        if not isinstance(path, int) and fails(Path(os.fsdecode(path)), flags):
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, *args, **how)

    monkeypatch.setattr(os, 'open', open_or_fail)


@pytest.mark.parametrize(('file', 'number'), [(TENSORS, errno.EIO), (SCALARS, errno.EACCES)])
def test_a_state_that_cannot_be_read_is_named_and_the_one_before_it_taken(
    folder, undisturbed, monkeypatch, capsys, file, number
):
    newest, before = list_states(folder / 'state')[-1], list_states(folder / 'state')[-2]
    with monkeypatch.context() as patch:
        failing(patch, number, lambda path, flags: path == newest / file and not flags & os.O_WRONLY)
        patch.setattr('ganfoundry.trainer.run_loop', lambda *args: (True, []))
        train_here(f'--resume={folder}')
    said = capsys.readouterr().out
    assert f'WARNING: {newest / file}: cannot be ' in said
    assert f'continuing from {before}' in said
    shutil.rmtree(newest)
    call(folder.parent, f'--resume={folder}')
    assert fingerprint(folder) == fingerprint(undisturbed)
    later = (folder / 'stats.jsonl.before-1').read_text().splitlines()
    assert later == (undisturbed / 'stats.jsonl').read_text().splitlines()[-len(later) :]


def test_a_run_in_a_folder_that_cannot_be_written_is_refused_in_one_sentence(folder, monkeypatch):
    before = contents(folder)
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    failing(monkeypatch, errno.EROFS, lambda path, flags: folder in path.parents and flags & writing)
    with pytest.raises(ConfigError, match=f'{folder}: cannot be written to .Read-only file system'):
        train_here(f'--resume={folder}')
    assert contents(folder) == before


def test_a_finished_run_on_a_full_disk_is_still_a_finished_run(folder, undisturbed, monkeypatch, capsys):
    """Every record fails: the log, the lock's text, TensorBoard."""
    before = contents(folder)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*args):
        raise full

    monkeypatch.setattr(os, 'write', fail)
    monkeypatch.setattr(files, 'write_bytes', fail)
    monkeypatch.setattr('training.run.board.Board.__init__', fail)
    train_here(f'--resume={folder}')
    assert 'nothing to do' in capsys.readouterr().out
    assert contents(folder) == before


def test_a_new_run_on_a_full_disk_leaves_no_folder(undisturbed, data, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('ganfoundry.runs.write_json', full)
    with pytest.raises(ConfigError, match=r'--outdir=.*cannot be filled there \(No space left on device\); make room'):
        train_here(f'--outdir={tmp_path}', f'--data={data}', '--cfg=squeeze', '--metrics=none', '--device=cpu')
    assert list(tmp_path.iterdir()) == []
