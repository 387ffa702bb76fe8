"""Counts of a training step on a GPU: ceilings of the mean step, so that a regression fails, and the estimate."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.count_step import PEAKS, Case, Rates, estimate, rates_of, table_of, text_of
from tests.conftest import ROOT
from tests.support.fake_cuda.cost import Cost
from tests.support.forks import environment

# --cfg, resolution, precision -> launches, GB outside convolutions and products, ms by the roofline of the reference.
# Lower a row when a step becomes cheaper; a row that has to rise needs a reason in its commit.
CEILINGS = {
    ('auto', 64, 'bf16'): (1203, 14.9, 18.6),
    ('auto', 256, 'bf16'): (1582, 29.7, 23.2),
    ('auto', 1024, 'bf16'): (1962, 58.9, 38.0),
    ('auto', 64, 'fp16'): (1231, 15.0, 18.6),
    ('auto', 256, 'fp16'): (1609, 29.7, 23.2),
    ('auto', 1024, 'fp16'): (1989, 58.9, 38.0),
    ('squeeze', 64, 'bf16'): (1680, 16.1, 16.3),
    ('gconv', 64, 'bf16'): (1092, 15.6, 10.8),
    ('igan', 64, 'bf16'): (740, 2.5, 3.8),
    ('giu', 64, 'bf16'): (999, 2.2, 5.0),
}


# Runs bench/count_step.py in an interpreter whose finalization would print a line on stderr.
PROGRAM = """
import runpy, sys

class Loud:
    def __del__(self):
        print('finalized', file=sys.stderr, flush=True)

loud = Loud()
runpy.run_path('bench/count_step.py', run_name='__main__')
"""


def count_step(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own: the guard comes before torch."""
    command = [sys.executable, '-c', PROGRAM, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=550)


@pytest.fixture(scope='module')
def table() -> subprocess.CompletedProcess[str]:
    """The process of `--table`."""
    return count_step('--table', '--json')


@pytest.fixture(scope='module')
def records(table) -> dict[tuple[str, int, str], dict]:
    """The records of `--table`."""
    assert table.returncode == 0, f'exit code {table.returncode}; stderr:\n{table.stderr}'
    return {(row['cfg'], row['resolution'], row['precision']): row for row in json.loads(table.stdout)}


@pytest.mark.slow
def test_the_command_ends_without_the_interpreters_finalization(table):
    """A thread of autograd that is late would turn the exit code into -6 then."""
    assert (table.returncode, 'finalized' in table.stderr) == (0, False)


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2():
    done = count_step('--cfg=nothing')
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)


@pytest.mark.slow
def test_no_step_costs_more_than_its_ceiling(records):
    print(table_of(list(records.values())))
    assert set(records) == set(CEILINGS)
    for name, (launches, gigabytes, ms) in CEILINGS.items():
        step = records[name]['step']
        assert step['launches'] <= launches, name
        assert step['bytes'] <= gigabytes * 1e9, name
        assert records[name]['estimate_ms']['gpu'] <= ms, name
        assert step['wide'] == 0, name  # no convolution whose kernel is a feature map


@pytest.mark.slow
def test_float16_takes_hardly_more_launches_than_bfloat16(records):
    for resolution in (64, 256, 1024):
        low, other = (records['auto', resolution, precision]['step']['launches'] for precision in ('bf16', 'fp16'))
        assert low <= other <= 1.03 * low


@pytest.mark.slow
def test_the_host_waits_in_no_step(records):
    assert {name: row['waits_at'] for name, row in records.items() if row['waits_at']} == {}


def test_the_estimate_is_the_slower_of_host_and_device():
    rates = Rates(low=1e12, tf32=1e12, fp32=1e12, bandwidth=1e9)
    busy = estimate(Cost(launches=1000, bytes=1e9, low=1e12, tf32=1e12, fp32=2e12), rates)
    assert busy == {'host': 5.0, 'low': 1000.0, 'tf32': 1000.0, 'fp32': 2000.0, 'memory': 1000.0, 'gpu': 5000.0}
    assert estimate(Cost(launches=1000), rates)['gpu'] == 5.0


@pytest.mark.parametrize('gpu', PEAKS)
def test_the_rates_of_a_named_gpu_are_below_its_peaks(gpu):
    rates, peaks = rates_of(gpu), PEAKS[gpu]
    assert rates.low == pytest.approx(0.45 * peaks.low)
    assert rates.bandwidth == pytest.approx(0.8 * peaks.bandwidth)
    assert rates.fp32 < rates.tf32 * 2 < rates.low * 2


def test_the_text_has_every_phase_and_where_the_host_waits():
    cost = Cost(launches=12.5, bytes=2e9, low=3e12, waits=1).record()
    record = {'cfg': 'auto', 'resolution': 64, 'batch': 32, 'precision': 'bf16', 'aug': 'noaug', 'impl': 'auto',
              'torch': '2.13', 'sets': {'r1.gamma': '1'}, 'phases': {'Gmain': cost}, 'step': cost, 'gpu': 'h100',
              'estimate_ms': {'host': 1.0, 'gpu': 2.0}, 'waits_at': {'training/step.py:1': 3},
              'top': {'launches': [[12.5, 2e9, 'training/step.py:1', 'aten.add']]}}  # fmt: skip
    text = text_of(record)
    assert 'r1.gamma=1' in text
    assert 'Gmain' in text
    assert 'the host waits at training/step.py:1: 3' in text
    assert '     12.5    2.000 training/step.py:1 aten.add' in text
    assert '| auto | 64, 32 | bf16 | 12 | 2.0 | 3.000 |' in table_of([record])


def test_a_case_sets_its_augmentation_and_its_tf32():
    cfg, spec = Case(resolution=32, batch=8, aug='ada', sets={'r1.gamma': '3'}).config()
    assert (cfg.batch, cfg.batch_gpu, cfg.aug.kind, cfg.aug.p, cfg.r1.gamma) == (8, 8, 'ada', 0.6, 3)
    assert cfg.allow_tf32
    assert not Case(precision='fp32').config()[0].allow_tf32
    assert spec.resolution == 32
