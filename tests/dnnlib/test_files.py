"""Tests of run folders, locks and JSON lines."""

import multiprocessing
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from dnnlib import files
from dnnlib.errors import ConfigError
from dnnlib.log import format_bytes, format_time
from torch_utils.images import from_pixels, grid_shape, save_png, tile, to_uint8


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


def test_pixels_survive_the_network_range():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_pixels(pixels) + 1e-6), pixels)
    assert to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


@pytest.mark.parametrize('channels', [1, 3])
def test_a_sheet_is_filled_row_by_row(tmp_path, channels):
    import PIL.Image

    images = np.stack([np.full([channels, 2, 3], i, np.uint8) for i in range(5)])
    save_png(tile(images, 3), tmp_path / 'x.png', {'seed': 7, 'note': 'hello'})
    with PIL.Image.open(tmp_path / 'x.png') as picture:
        assert picture.mode == {1: 'L', 3: 'RGB'}[channels]
        assert picture.size == (9, 4)
        assert picture.text == {'seed': '7', 'note': 'hello'}
        pixels = np.asarray(picture).reshape(4, 9, channels)[..., 0]
    assert pixels[::2, ::3].tolist() == [[0, 1, 2], [3, 4, 0]]


@pytest.mark.parametrize(
    ('resolution', 'shape'), [(32, (32, 32)), (128, (32, 32)), (256, (30, 16)), (512, (15, 8)), (1024, (7, 4))]
)
def test_sheets_have_the_sizes_that_users_know(resolution, shape):
    assert grid_shape(resolution, resolution) == shape
    assert np.prod(grid_shape(resolution, resolution, limit=100)) <= 100


def test_numbers_read_well():
    assert [format_time(s) for s in (3, 187, 18120, 187200)] == ['3s', '3m 07s', '5h 02m', '2d 04h']
    assert [format_bytes(b) for b in (12, 18_800_000, 2.5e12)] == ['12 B', '18.8 MB', '2.5 TB']


@pytest.mark.slow
def test_the_first_signal_asks_and_the_second_leaves():
    code = (
        'import os, signal, time\nfrom dnnlib.signals import StopSignal\n'
        'with StopSignal() as stop:\n'
        '    os.kill(os.getpid(), signal.SIGTERM)\n'
        '    assert stop.requested() and stop.exit_code == 143\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    time.sleep(5)\n'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 128 + signal.SIGINT
