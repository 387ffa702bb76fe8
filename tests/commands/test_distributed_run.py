"""train.py in several processes: started by --gpus or torchrun, stopped, lost, continued on another number.

That a killed process is replaced: tests/reliability/test_r09_lost_ranks.py.
"""

import signal
import subprocess
import sys
import time
import zipfile

import psutil
import pytest

from tests.conftest import ROOT
from tests.support.fake_loggers import kept
from tests.support.forks import environment
from tests.support.patience import stretched
from tests.support.runs import TINY, call, command, last_state, losses, make_zip, only_run, start

pytestmark = pytest.mark.slow

# 16 steps of four micro-batches of 16 images.
FLAGS = (*TINY, '--cfg=squeeze', '--kimg=1', '--batch=64', '--batch-gpu=16', '--tick=0.128', '--deterministic=1',
         '--set=pl.weight=2', '--set=style_mixing_prob=0.9', '--set=r1.interval=4')  # fmt: skip


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory, data):
    """A run of one process from beginning to end."""
    outdir = tmp_path_factory.mktemp('undisturbed')
    call(outdir, f'--data={data}', *FLAGS)
    return only_run(outdir)


def ranks(launcher):
    """Returns the present training processes of a launcher by rank."""
    found = {}
    for child in psutil.Process(launcher.pid).children():
        try:
            if 'train.py' in ' '.join(child.cmdline()) and 'RANK' in (env := child.environ()):
                found[int(env['RANK'])] = child
        except psutil.Error:
            continue
    return found


def train(folder, *flags):
    """Starts a run in `folder`/runs. Only the launcher is forked; what it starts are interpreters of their own."""
    return start(folder, *command(folder / 'runs', *flags)[1:])


def wait_until_trained(launch, outdir, ticks):
    """Waits until the run has written `ticks` lines of statistics."""

    def trained():
        stats = list(outdir.glob('0*/stats.jsonl'))
        return bool(stats) and len(stats[0].read_text().splitlines()) >= ticks

    assert launch.watch(trained), launch.said()


def said_in(folder):
    return (folder / 'output').read_text(), (folder / 'errors').read_text()


def assert_same_run(folder, other):
    assert last_state(folder) == last_state(other)
    assert losses(folder) == losses(other)


def test_torchrun_trains_to_the_bits_of_one_process(tmp_path, data, undisturbed):
    args = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', str(ROOT / 'train.py')]
    done = subprocess.run([*args, f'--outdir={tmp_path}', f'--data={data}', *FLAGS], capture_output=True, text=True,
                          env=environment(), timeout=200)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('run folder') == 1  # rank 0 alone speaks
    assert_same_run(only_run(tmp_path), undisturbed)


def test_a_run_goes_on_from_one_process_to_two_and_back_with_the_same_bits(tmp_path, data, undisturbed):
    """With loggers, of which the first gets each record once, from rank 0, and the second does not return."""
    loggers = [f'--log=tests.support.fake_loggers:{name}' for name in ('Keeps', 'Hangs')]
    outdir = tmp_path / 'runs'
    for flags, ticks, number in (
        ((f'--data={data}', *FLAGS), 2, signal.SIGINT),
        (('--resume=latest', '--gpus=2'), 4, signal.SIGTERM),
    ):
        launch = train(tmp_path, *flags, *loggers)
        wait_until_trained(launch, outdir, ticks)
        launch.kill(number)
        assert launch.wait() == 128 + number
        assert f'continue: python train.py --resume={only_run(outdir)}' in launch.said()
        (tmp_path / 'output').rename(tmp_path / f'output{ticks}')
    output = (tmp_path / 'output4').read_text()
    assert 'changed for this launch: gpus 1 -> 2' in output
    assert output.rstrip().endswith(' '.join(loggers))  # the command that continues
    call(outdir, '--resume=latest', '--gpus=1', *loggers)
    run = only_run(outdir)
    assert_same_run(run, undisturbed)
    deadline = time.monotonic() + stretched(60)
    while 'finished' not in kept(run, 'finish'):
        assert time.monotonic() < deadline, (run / 'log-tests.support.fake_loggers.Keeps.txt').read_text()
        time.sleep(0.1)
    ticks = [line['nimg'] for line in losses(run)]
    assert kept(run, 'scalars') == ticks
    assert kept(run, 'finish') == ['stopped', 'stopped', 'finished']


def test_a_request_to_one_process_stops_all_with_one_saved_state(tmp_path, data):
    launch = train(tmp_path, f'--data={data}', *FLAGS, '--gpus=2', '--max-restarts=1')
    wait_until_trained(launch, tmp_path / 'runs', 2)
    ranks(launch)[1].send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert launch.wait() == 143  # and no restart: it was asked to stop
    assert time.monotonic() < asked + stretched(15)
    output, _ = said_in(tmp_path)
    assert 'continue: python train.py --resume=' in output
    _, scalars = last_state(only_run(tmp_path / 'runs'))
    assert f'the newest state is of {scalars["nimg"] / 1000:.2f} kimg' in output


def test_a_lost_process_without_restarts_ends_the_run_with_its_code(tmp_path, data):
    launch = train(tmp_path, f'--data={data}', *FLAGS, '--gpus=2')
    wait_until_trained(launch, tmp_path / 'runs', 1)
    ranks(launch)[1].kill()
    assert launch.wait() in (1, 128 + signal.SIGKILL)  # one of the two ends is noticed first
    output, errors = said_in(tmp_path)
    assert 'WARNING: rank 0 of 2, ' in output
    for text in (output, (only_run(tmp_path / 'runs') / 'log.txt').read_text()):
        assert 'another process is gone' in text
    assert 'no restart was left of 0' in errors


def test_an_image_that_one_process_cannot_read_ends_all_with_a_saved_state(tmp_path, data):
    blob = bytearray(data.read_bytes())
    with zipfile.ZipFile(data) as archive:
        entry = archive.infolist()[20]
    blob[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 255
    bad = tmp_path / 'bad.zip'
    bad.write_bytes(blob)
    done = call(tmp_path / 'runs', f'--data={bad}', *FLAGS, '--gpus=2', '--max-restarts=1', check=False)
    assert done.returncode == 2, done.stdout + done.stderr  # and no restart, which would meet it again
    assert done.stderr.count(entry.filename) == 1
    assert 'stopped at 0.00 kimg' in done.stdout
    assert last_state(only_run(tmp_path / 'runs'))[1]['nimg'] == 0
