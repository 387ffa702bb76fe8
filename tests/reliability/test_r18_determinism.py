"""R18: the same command line gives the same bits: twice, with any number of workers, anywhere, under any locale."""

import subprocess

import pytest

from tests.reliability.conftest import EVERYTHING
from tests.reliability.supervisor import fingerprint
from tests.support.forks import environment
from tests.support.runs import command, only_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_a_second_run_with_any_number_of_workers(run, undisturbed, workers):
    again = run(f'--workers={workers}')
    assert again.finish() == [0]
    assert fingerprint(again.folder) == fingerprint(undisturbed)


def test_a_fresh_interpreter_elsewhere_with_another_hash_seed_locale_and_clock(tmp_path, data, undisturbed):
    """Which also shows that a launch forked from the zygote is what `python train.py` is."""
    surroundings = {'PYTHONHASHSEED': '77', 'LC_ALL': 'C', 'LANG': 'tr_TR.UTF-8', 'TZ': 'Asia/Kolkata'}
    subprocess.run(command(tmp_path / 'runs', f'--data={data}', *EVERYTHING), cwd=tmp_path, check=True, timeout=300,
                   env=environment() | surroundings, capture_output=True)  # fmt: skip
    assert fingerprint(only_run(tmp_path / 'runs')) == fingerprint(undisturbed)
