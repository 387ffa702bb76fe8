"""The trainer: what the log of a run begins with."""

import os

import pytest
import torch

from ganfoundry.commands import train
from tests.support.runs import only_run

FLAGS = ('--cfg=squeeze', '--resolution=32', '--cbase=256', '--cmax=8', '--metrics=none', '--workers=0', '--device=cpu')


@pytest.mark.parametrize(('load', 'num_warnings'), [(0.1, 0), (100_000.0, 1)])
def test_a_run_on_a_busy_cpu_begins_with_one_warning_and_keeps_its_threads(tmp_path, monkeypatch, load, num_warnings):
    threads = []
    monkeypatch.setattr(
        'ganfoundry.trainer.run_loop', lambda *args: threads.append(torch.get_num_threads()) or (True, [])
    )
    monkeypatch.setattr(os, 'getloadavg', lambda: (load, 0.0, 0.0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train.main.main([f'--outdir={tmp_path}', *FLAGS], standalone_mode=False)
    finally:
        torch.set_num_threads(before)
    assert threads == [2]
    warnings = [line for line in (only_run(tmp_path) / 'log.txt').read_text().splitlines() if 'WARNING' in line]
    assert len(warnings) == num_warnings
    assert all('load average 100000.0' in line and 'OMP_NUM_THREADS=1' in line for line in warnings)
