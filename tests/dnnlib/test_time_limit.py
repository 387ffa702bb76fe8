"""Promises of stopping: in time (--for), on a signal during a save, and at once on the second signal."""

import pytest

from dnnlib.errors import ConfigError
from dnnlib.time_limit import TimeLimit, parse_duration
from tests.support.runs import TINY, call, last_state, losses, make_zip, only_run


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def make_limit(seconds, used=0.0):
    clock = Clock()
    return clock, TimeLimit(seconds, used, clock)


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [('2h', 7200), ('90m', 5400), ('5400s', 5400), ('1d', 86400), ('1h30m', 5400), ('1.5h', 5400), ('0.5s', 0.5)],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_duration(text, '--for') == seconds


@pytest.mark.parametrize('text', ['', '2', 'h', '2 h', '2h30', '-1h', '2w', 'two hours', '0s'])
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(ConfigError, match=f'^--for={text}: '):
        parse_duration(text, '--for')


def test_time_is_kept_back_for_the_longest_step_and_the_longest_save():
    clock, limit = make_limit(100, used=10)  # ends at 1090
    limit.saved(5)
    limit.saved(3)
    for now in (1040, 1042, 1052, 1053):  # the first call is late: building is not a step
        clock.now = now
        assert not limit.reached()
    clock.now = 1090 - 1.1 * (10 + 5) - 0.1
    limit_before = limit.reached()  # this step is the longest
    assert limit_before
    clock, limit = make_limit(100)
    clock.now = 1098
    assert not limit.reached()
    clock.now = 1099.1
    assert limit.reached()


@pytest.mark.slow
def test_a_run_stops_in_time_says_how_to_go_on_and_loses_no_bit(tmp_path):
    flags = (
        f'--data={make_zip(tmp_path / "tiny.zip")}',
        '--kimg=1',
        *TINY,
        '--resolution=8',
        '--batch=32',
        '--batch-gpu=32',
    )
    call(tmp_path / 'whole', *flags)
    done = call(tmp_path / 'runs', *flags, '--for=0.01s', check=False)
    folder = only_run(tmp_path / 'runs')
    assert done.returncode == 75, done.stderr
    assert '--for=0s is over; the newest state is of 0.03 kimg' in done.stdout
    assert f'continue: python train.py --resume={folder}' in done.stdout
    call(tmp_path / 'runs', f'--resume={folder}', '--for=1h')  # ample time: exit code 0
    assert last_state(folder) == last_state(only_run(tmp_path / 'whole'))
    assert losses(folder) == losses(only_run(tmp_path / 'whole'))
    refused = call(tmp_path / 'no', *flags, '--for=2', check=False)
    assert refused.returncode == 2
    assert '--for=2: expected a duration such as 2h' in refused.stderr
