"""Tests of run folders, locks and JSON lines."""

import multiprocessing
import subprocess
import sys

import pytest

from dnnlib import files
from dnnlib.errors import ConfigError


@pytest.mark.slow
def test_eight_launches_at_once_make_eight_folders(tmp_path):
    with multiprocessing.get_context('fork').Pool(8) as pool:
        made = pool.starmap(files.make_run_dir, [(tmp_path / 'runs', f'run{i % 2}') for i in range(24)])
    assert sorted(int(path.name[:5]) for path in made) == list(range(24))


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match=r'--outdir=.*cannot make a run folder there'):
        files.make_run_dir(tmp_path / 'file' / 'runs', 'x')


@pytest.mark.slow
def test_a_second_process_is_told_who_holds_the_lock(tmp_path):
    code = 'import sys, pathlib\nfrom dnnlib.files import exclusive\nwith exclusive(pathlib.Path(sys.argv[1])): pass'
    with files.exclusive(tmp_path / '.lock'):
        done = subprocess.run([sys.executable, '-c', code, str(tmp_path / '.lock')], capture_output=True, text=True)
    assert 'another process trains in this folder: pid' in done.stderr
    subprocess.run([sys.executable, '-c', code, str(tmp_path / '.lock')], check=True)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x'
    files.write_bytes(path, b'old')

    def write_half():
        with files.atomic_path(path) as tmp:
            tmp.write_bytes(b'half')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_line_cut_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / 'x.jsonl'
    files.append_line(path, '{"a": 1}')
    with path.open('ab') as file:
        file.write(b'{"a": 2')
    assert files.read_jsonl(path) == [{'a': 1}]
    assert files.read_jsonl(tmp_path / 'absent.jsonl') == []
