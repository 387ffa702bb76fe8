"""Many processes: the same bytes as one, bounded memory, and no remains after any end."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from PIL import Image

from dnnlib.errors import UserError
from tests.support.forks import is_running
from tests.support.pictures import fill, noise, run, sha256
from training.data.pool import MIN_JOBS, map_in_order, resolve_num_workers


def test_any_number_of_workers_gives_the_same_bytes_and_the_same_report(tmp_path):
    pictures: dict[str, Image.Image | bytes] = {f'{i:02}.png': noise(i, 20, 18, 'L') for i in range(12)}
    pictures |= {'03.png': b'bad', '08.png': noise(8, 20, 18), '10.png': b''}
    source = fill(tmp_path / 'in', pictures)
    options = ['--resolution=16x16', '--transform=center-crop']
    reports = []
    for workers in (1, 2):
        result = run('--source', source, '--dest', tmp_path / f'{workers}.zip', f'--workers={workers}', *options)
        reports.append(result.stdout.replace(f'{workers}.zip', 'N.zip'))
    assert reports[0] == reports[1]
    assert 'bad pictures left out: 2' in reports[0]
    assert sha256(tmp_path / '1.zip') == sha256(tmp_path / '2.zip')
    result = run('--source', source, '--dest', tmp_path / 'x.zip', '--workers=2', '--strict', *options, code=2)
    assert '03.png: is not a PNG' in result.stderr
    assert sorted(os.listdir(tmp_path)) == ['1.zip', '2.zip', 'in']


def test_jobs_are_read_only_a_few_ahead():
    read = []

    def jobs():
        for number in range(40):
            read.append(number)
            yield number

    results = map_in_order(abs, jobs(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(read) <= 9
    results.close()


@pytest.mark.parametrize('num_workers', [0, 1, 2])
@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_results_keep_the_order_of_the_jobs_in_chunks_of_any_size(num_workers, chunk_size):
    results = map_in_order(abs, range(-20, 0), num_workers, chunk_size)
    assert list(results) == list(range(20, 0, -1))
    assert list(map_in_order(abs, [], num_workers, chunk_size)) == []


def test_an_exception_in_a_chunk_is_raised_after_the_chunks_before_it():
    results = map_in_order(int, ['1', '2', '3', 'x', '5'], 2, chunk_size=2)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match='invalid literal for int'):
        next(results)


def test_few_jobs_use_this_process_unless_a_number_of_workers_is_given():
    assert resolve_num_workers(None, MIN_JOBS - 1) == 1
    assert 1 <= resolve_num_workers(None, MIN_JOBS) <= 32
    assert resolve_num_workers(4, 2) == 2
    assert resolve_num_workers(4, 1000) == 4
    assert resolve_num_workers(0, 1000) == 0


def test_a_worker_that_dies_is_told():
    message = r'a worker process died \(exit code 3\), mostly because memory ran out: give fewer --workers'
    with pytest.raises(UserError, match=message):
        list(map_in_order(os._exit, [3, 3, 3], 2))


def test_large_jobs_and_results_do_not_block_each_other():
    jobs = [bytes([number]) * 2**21 for number in range(12)]
    assert list(map_in_order(bytes.upper, jobs, 2)) == [job.upper() for job in jobs]


def test_an_exception_of_a_worker_is_raised_here():
    with pytest.raises(ValueError, match='invalid literal for int'):
        list(map_in_order(int, ['1', 'x', '3'], 2))


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Waits a minute at most, and for a process only as long as it runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


@pytest.fixture
def conversion(root, tmp_path):
    """Starts a conversion of 400 pictures with so many workers; returns it, and its workers, when it is under way."""
    source = fill(tmp_path / 'in', {'0.png': noise(0, 900, 900)})
    for i in range(1, 400):
        os.link(source / '0.png', source / f'{i}.png')

    def start(workers: int) -> tuple[subprocess.Popen, list[int]]:
        command = [sys.executable, root / 'dataset_tool.py', f'--source={source}', f'--dest={tmp_path}/new/a.zip']
        process = subprocess.Popen(
            [*command, '--resolution=512x512', f'--workers={workers}'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: any(path.stat().st_size > 2**20 for path in tmp_path.glob('new/a.zip*')), process)
        children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text()
        return process, [int(pid) for pid in children.split()]

    return start


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='looks processes up in /proc')
@pytest.mark.parametrize(('number', 'workers'), [(signal.SIGINT, 1), (signal.SIGHUP, 2), (signal.SIGTERM, 2)])
def test_a_signal_stops_it_and_leaves_nothing(tmp_path, conversion, number, workers):
    process, children = conversion(workers)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'a.zip was not made' in err
    assert 'Traceback' not in err
    assert out == ''
    assert sorted(os.listdir(tmp_path)) == ['in']
    wait_until(lambda: not any(map(is_running, children)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='looks processes up in /proc')
def test_an_end_by_force_takes_the_workers_along_and_leaves_no_data_set(tmp_path, conversion):
    process, children = conversion(2)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(map(is_running, children)))
    assert not (tmp_path / 'new' / 'a.zip').exists()
