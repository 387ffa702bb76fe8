"""A data set on disk: equal bytes for equal pictures, complete or absent, and nothing is overwritten."""

import os
import subprocess
import sys
import zipfile

import pytest

from dnnlib.errors import UserError
from tests.support.pictures import fill, noise, run, sha256
from training.data.convert.writer import open_writer


def test_same_pictures_give_the_same_bytes(tmp_path):
    first = fill(tmp_path / 'first', {f'{i}.png': noise(i) for i in range(3)})
    second = fill(tmp_path / 'second', {f'{i}.png': noise(i) for i in reversed(range(3))})
    os.utime(second / '0.png', (10**9, 10**9))
    run('--source', first, '--dest', tmp_path / 'a.zip')
    run('--source', second, '--dest', tmp_path / 'b.zip')
    assert sha256(tmp_path / 'a.zip') == sha256(tmp_path / 'b.zip')
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_nothing_is_overwritten(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    (tmp_path / 'a.zip').write_bytes(b'precious')
    assert 'exists already' in run('--source', source, '--dest', tmp_path / 'a.zip', code=2).stderr
    assert (tmp_path / 'a.zip').read_bytes() == b'precious'
    assert 'new or empty' in run('--source', source, '--dest', source, code=2).stderr
    assert '--dest is empty' in run('--source', source, '--dest', '', code=2).stderr
    (tmp_path / 'empty').mkdir()
    run('--source', source, '--dest', tmp_path / 'empty')
    assert sorted(os.listdir(tmp_path / 'empty')) == ['00000', 'dataset.json']


@pytest.mark.slow
@pytest.mark.parametrize('dest', ['new/a.zip', 'new/folder'])
def test_a_full_disk_is_one_sentence(tmp_path, dest):
    source = fill(tmp_path / 'in', {f'{i}.png': noise(i) for i in range(3)})
    code = (
        'import resource, signal, sys, dataset_tool\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n'
        'dataset_tool.main()\n'
    )
    done = subprocess.run(
        [sys.executable, '-B', '-c', code, f'--source={source}', f'--dest={tmp_path / dest}'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f'--dest={tmp_path / dest}: cannot be written (File too large); free some space' in done.stderr
    assert 'Traceback' not in done.stderr
    assert os.listdir(tmp_path) == ['in']


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    result = run('--source', source, '--dest', source / '0.png' / 'a.zip', code=2)
    assert 'a.zip: cannot be written (File exists)' in result.stderr


def test_a_zip_of_more_files_than_the_old_format_counts_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, 'ZIP_FILECOUNT_LIMIT', 10)  # the real limit is 65,535, and FFHQ has 70,000
    with open_writer(str(tmp_path / 'a.zip')) as write:
        for number in range(20):
            write(f'{number:05d}.png', b'x')
    assert b'PK\x06\x06' in (tmp_path / 'a.zip').read_bytes()  # zip64's end of central directory
    with zipfile.ZipFile(tmp_path / 'a.zip') as archive:
        assert len(archive.namelist()) == 20


def test_what_appears_meanwhile_is_not_overwritten(tmp_path):
    def write_late():
        with open_writer(str(tmp_path / 'a.zip')) as write:
            write('0.png', b'new')
            (tmp_path / 'a.zip').write_bytes(b'precious')

    with pytest.raises(UserError, match='exists already'):
        write_late()
    assert (tmp_path / 'a.zip').read_bytes() == b'precious'
    assert os.listdir(tmp_path) == ['a.zip']
