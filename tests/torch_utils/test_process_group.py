"""Tests of joining; tests/torch_utils/test_distributed.py and tests/support/ranks.py use groups that have joined."""

import socket

import pytest
import torch
from torch.distributed import HashStore

from dnnlib.errors import ConfigError
from torch_utils import process_group
from torch_utils.process_group import connect, join
from torch_utils.watchdog import Watchdog

CPU = torch.device('cpu')


@pytest.fixture
def second_of_two(monkeypatch):
    """Describes this process as the second of two whose first does not exist. Returns the address."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = str(probe.getsockname()[1])
    values = {'RANK': '1', 'WORLD_SIZE': '2', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': port}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for name in ('GANFOUNDRY_LAUNCHER', 'TORCHELASTIC_RUN_ID', 'TORCHELASTIC_USE_AGENT_STORE'):
        monkeypatch.delenv(name, raising=False)
    return f'localhost:{port}'


def test_a_process_without_a_launcher_is_alone_and_watched_if_it_wants(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    for watched in (False, True):
        world = join(CPU, watched=watched)
        assert (world.rank, world.size) == (0, 1)
        world.watch(1000)
        assert (world._watchdog is not None) == watched
        with world.rank0_section('metrics', lambda: False):
            assert not watched or world._watchdog._timeout_s > 1000
        world.close()
        assert world._watchdog is None


def test_processes_that_do_not_meet_are_an_error_that_names_the_address(second_of_two, monkeypatch):
    monkeypatch.setattr(process_group, 'JOIN_S', 1.0)
    # The limit of 1 s can take more than 2 s on a busy machine, after which the watchdog would end the tests.
    monkeypatch.setattr(process_group, 'Watchdog', lambda name, timeout_s, launcher: Watchdog(name, 300, launcher))
    with pytest.raises(ConfigError, match=f'rank 1 of 2 does not meet the others at {second_of_two}') as error:
        join(CPU)
    assert '\n' not in str(error.value)


def test_a_machine_without_a_gpu_for_each_process_is_refused(second_of_two, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(ConfigError, match='process 1 of this machine has no GPU, PyTorch sees 1'):
        join(torch.device('cuda'))


@pytest.mark.parametrize(('kind', 'device'), [('cuda', torch.device('cuda', 1)), ('cpu', None)])
def test_nccl_makes_its_communicator_on_the_gpu_of_the_process_while_it_joins(monkeypatch, kind, device):
    made = []
    monkeypatch.setattr(process_group.dist, 'init_process_group', lambda backend, **how: made.append((backend, how)))
    monkeypatch.setattr(process_group.dist, 'new_group', lambda **how: None)
    world = connect(HashStore(), 1, 2, 1, kind, Watchdog('test', 300))
    world.unwatch()
    ((backend, how),) = made
    assert (backend, how['device_id']) == ('gloo' if device is None else 'nccl', device)
