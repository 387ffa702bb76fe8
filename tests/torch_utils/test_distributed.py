"""Tests of the processes: agreements, hung or lost processes, and differences between them."""

import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import ConfigError, UserError
from tests.conftest import ROOT
from tests.support.forks import environment
from tests.support.patience import stretched
from tests.support.ranks import run_ranks
from torch_utils import distributed
from torch_utils.distributed import PeerLost, World

HANGS = """
import sys, time, torch, torch.distributed as dist
from torch_utils.process_group import connect
rank = int(sys.argv[1])
world = connect(dist.FileStore(sys.argv[2], 2), rank, 2)
world.watch(3)
for step in range(3):
    time.sleep(rank if step == 2 else 0)  # rank 0 times out first: it would only see that rank 1 is gone otherwise
    world.set_stage(f'step {step}, Dmain')
    if step == 2 and rank == 1:
        time.sleep(60)
    world.all_reduce(torch.ones(5), 'the gradients')
"""


def test_one_process_makes_no_group():
    world, x = World(), torch.tensor([1.0, 2.0])
    world.all_reduce(x, 'x')
    assert world.gather(x, 'x').tolist() == [[1, 2]]
    assert world.maximum(3, 'n') == 3
    assert world.shared(lambda: 'a') == 'a'
    with world.rank0_section('a task', lambda: True) as leads:
        assert leads
    assert not torch.distributed.is_initialized()


def test_processes_exchange_what_they_have():
    def task(world):
        x = torch.tensor([float(world.rank), 1.0])
        world.all_reduce(x, 'x')
        rows = world.gather(torch.tensor([[world.rank]]), 'rows')
        return x.tolist(), rows.tolist(), world.maximum(world.rank * 5, 'n'), world.shared(lambda: world.rank)

    assert run_ranks(3, task) == [([3, 3], [[[0]], [[1]], [[2]]], 10, 0)] * 3


def test_an_error_of_the_first_process_is_everybodys():
    def task(world):
        def refuse():
            raise ConfigError('--outdir: full')

        with pytest.raises(UserError, match='--outdir: full'):
            world.shared(refuse)
        return True

    assert run_ranks(2, task) == [True, True]


def test_others_wait_for_the_first_and_tell_it_that_they_are_asked_to_stop():
    def task(world):
        with world.rank0_section('metrics', lambda: world.rank == 1) as leads:
            began = time.monotonic()
            while leads and not world.peer_asked():
                assert time.monotonic() < began + stretched(20)
            time.sleep(0.3 if leads else 0)
        return leads, time.monotonic() - began

    (first, _), (second, waited) = run_ranks(2, task)
    assert (first, second) == (True, False)
    assert waited > 0.25


def test_a_process_that_has_gone_is_named_with_operation_and_step():
    def task(world):
        world.watch(50)
        world.set_stage('step 12, Gmain')
        if world.rank == 1:
            return world.close()
        with pytest.raises(PeerLost) as error:
            world.all_reduce(torch.ones(3), 'the gradients')
        return str(error.value)

    message, _ = run_ranks(2, task)
    assert message.startswith('rank 0 of 2, step 12, Gmain: all-reduce of the gradients failed, another process')


@pytest.mark.slow
def test_hung_processes_end_with_rank_operation_step_and_stacks(tmp_path):
    """R10: one process sleeps; all end with an error within the time-out and 15 seconds."""
    began = time.monotonic()
    processes = [
        subprocess.Popen([sys.executable, '-c', HANGS, str(rank), str(tmp_path / 'store')], stderr=subprocess.PIPE,
                         text=True, env={**environment(), 'GLOO_SOCKET_IFNAME': 'lo'}, cwd=ROOT)
        for rank in range(2)
    ]  # fmt: skip
    first, second = [process.communicate(timeout=200)[1] for process in processes]
    assert time.monotonic() < began + 3 + stretched(15 + 20)  # 20 s for imports
    assert [process.returncode for process in processes] == [1, 1]
    # On a busy machine rank 1 may time out first; rank 0 then finds it gone.
    hung = r'rank 0 of 2: no progress for \d s \(--timeout=3\) at step 2, Dmain, waiting in all-reduce'
    gone = r'rank 0 of 2, step 2, Dmain: all-reduce'
    assert re.search(rf'({hung} of the gradients)|({gone} of the gradients failed)', first)
    assert re.search(r'rank 1 of 2: no progress for \d s \(--timeout=3\) at step 2, Dmain, computing, or asleep',
                     second)  # fmt: skip
    assert 'most recent call' in first
    assert 'File "<string>", line 11' in second  # the line that sleeps


@pytest.mark.parametrize('backend', ['nccl', 'gloo'])
def test_a_process_that_lost_another_ends_its_work_on_the_gpu_before_it_leaves(monkeypatch, backend):
    def fail(x):
        raise RuntimeError('ncclRemoteError')

    aborted = []
    group = SimpleNamespace(WORLD=SimpleNamespace(abort=lambda: aborted.append(backend)))
    stub = SimpleNamespace(all_reduce=fail, is_initialized=lambda: True, get_backend=lambda: backend, group=group)
    monkeypatch.setattr(distributed, 'dist', stub)
    with pytest.raises(PeerLost, match=r'rank 0 of 2: all-reduce of x failed, .*\(ncclRemoteError\)'):
        World(0, 2).all_reduce(torch.zeros(1), 'x')
    assert aborted == (['nccl'] if backend == 'nccl' else [])
