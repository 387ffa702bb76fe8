"""Tests of the variables of launchers: read together or not at all, and refused by name if they make no sense."""

import os

import pytest

from dnnlib.errors import ConfigError
from torch_utils.launched import Place, is_launched, is_ours, launcher_id, place

ALONE = Place(rank=0, size=1, local_rank=0, attempt=0)
GOOD = {'RANK': '1', 'WORLD_SIZE': '2', 'LOCAL_RANK': '1', 'MASTER_ADDR': 'node0', 'MASTER_PORT': '29500'}


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Sets variables of launchers; those that are set around the tests do not count."""
    for name in os.environ:
        if name in GOOD or name.startswith(('TORCHELASTIC_', 'GANFOUNDRY_LAUNCHER')):
            monkeypatch.delenv(name)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    'values',
    [
        {},
        {'RANK': '3'},
        {'WORLD_SIZE': '4'},
        {'RANK': '', 'WORLD_SIZE': ''},
        {'SLURM_PROCID': '2', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '2'},
        {'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '2', 'PMI_RANK': '1', 'PMI_SIZE': 'x'},
        {'TORCHELASTIC_RESTART_COUNT': '1'},
        {'TORCHELASTIC_RESTART_COUNT': 'many', 'LOCAL_RANK': 'x', 'MASTER_PORT': 'y'},
    ],
)
def test_a_process_without_rank_and_size_is_alone(variables, values):
    variables(**values)
    assert not is_launched()
    assert place() == ALONE


def test_a_launched_process_knows_its_place(variables):
    variables(**GOOD, TORCHELASTIC_RESTART_COUNT='2')
    assert place() == Place(rank=1, size=2, local_rank=1, attempt=2)


@pytest.mark.parametrize(
    ('name', 'value', 'said'),
    [
        ('WORLD_SIZE', 'y', 'WORLD_SIZE=y: expected a number from 1;'),
        ('WORLD_SIZE', '0', 'WORLD_SIZE=0: expected a number from 1;'),
        ('WORLD_SIZE', '-2', 'WORLD_SIZE=-2'),
        ('RANK', '2', 'RANK=2: expected a number from 0 to 1;'),
        ('RANK', '1.0', 'RANK=1.0'),
        ('RANK', '\u0661', 'RANK=\u0661'),
        ('LOCAL_RANK', 'first', 'LOCAL_RANK=first'),
        ('MASTER_ADDR', '', 'WORLD_SIZE=2 without MASTER_ADDR'),
        ('MASTER_PORT', '', 'MASTER_PORT=: expected a number from 1 to 65535'),
        ('MASTER_PORT', '70000', 'MASTER_PORT=70000'),
        ('TORCHELASTIC_RESTART_COUNT', 'abc', 'TORCHELASTIC_RESTART_COUNT=abc'),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_a_way_out(variables, name, value, said):
    variables(**(GOOD | {name: value}))
    with pytest.raises(ConfigError, match=said) as error:
        place()
    assert 'unset RANK and WORLD_SIZE' in str(error.value)


def test_a_process_follows_its_launcher_and_not_a_shell_that_started_it(variables):
    variables(**GOOD)
    assert launcher_id() is None
    variables(TORCHELASTIC_RUN_ID='job')
    assert launcher_id() == os.getppid()
    variables(GANFOUNDRY_LAUNCHER=str(os.getppid()))
    assert is_ours()
    assert launcher_id() == os.getppid()


def test_a_launcher_that_is_gone_is_named(variables):
    variables(**GOOD, GANFOUNDRY_LAUNCHER='4194305')
    assert not is_ours()
    with pytest.raises(ConfigError, match='GANFOUNDRY_LAUNCHER=4194305: the launcher of this process is gone'):
        launcher_id()
