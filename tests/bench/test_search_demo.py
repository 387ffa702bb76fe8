"""The search for the demo's settings: every setting of a round is a different run, and the demo is one of them.

`--cfg=squeeze-small` has what the demo has, except for what belongs to this one run.
"""

import dataclasses
import re
import shlex

import pytest

from bench.search_demo import ROUNDS, plan_of, table
from ganfoundry.compare.options import CompareOptions, read_rows, with_plan_file
from ganfoundry.compare.plan import config_of
from ganfoundry.compare.plan_file import plan_text
from tests.conftest import ROOT
from training.config import differences

# Options of the demo that belong to its data, its length, its records and its machine, not to the recipe.
OF_THE_RUN = ('--resolution', '--kimg', '--tick', '--snap', '--metrics', '--workers', '--outdir', '--desc')


def demo_flags() -> list[str]:
    """Returns the flags of `make demo`."""
    makefile = (ROOT / 'Makefile').read_text()
    flags = re.search(r'^DEMO := (.*?[^\\])$', makefile, re.MULTILINE | re.DOTALL)[1]
    return shlex.split(flags.replace('\\\n', ' '))


def configs(number: str, tmp_path) -> dict[str, object]:
    """Returns the config of each setting of a round."""
    (tmp_path / 'plan.toml').write_text(plan_text(plan_of(ROUNDS[number], 60, '0', 1)))
    rows = read_rows(*with_plan_file(CompareOptions(plan=str(tmp_path / 'plan.toml'))))
    return {row.label: config_of((f'--cfg={row.cfg}', '--resolution=32', '--batch=16', *row.flags))[0] for row in rows}


@pytest.mark.parametrize('number', list(ROUNDS))
def test_every_setting_changes_something(tmp_path, number):
    found = configs(number, tmp_path)
    assert found.keys() == ROUNDS[number].settings.keys()
    assert len(set(map(repr, found.values()))) == len(found)


def test_the_demo_is_the_best_setting(tmp_path):
    demo, _ = config_of(tuple(demo_flags()))
    best = configs('3', tmp_path)['wide']
    length = {name: getattr(demo, name) for name in ('kimg', 'tick', 'snap', 'metrics', 'workers', 'precision')}
    assert dataclasses.replace(best, **length) == demo


def test_squeeze_small_is_the_demo_without_what_belongs_to_its_run():
    flags = demo_flags()
    demo, _ = config_of(tuple(flags))
    of_the_run = [flag for flag in flags if flag.startswith(OF_THE_RUN)]
    small, _ = config_of(('--cfg=squeeze-small', *of_the_run))
    assert len(of_the_run) == len(OF_THE_RUN)
    assert differences(demo, small) == [('cfg', 'squeeze', 'squeeze-small')]


def test_the_table_is_sorted_and_names_a_run_without_a_number():
    def row(label, mean, state):
        run = {'state': state}
        ends = {'fd_efflite1k': {'mean': mean, 'std': None}}
        return {
            'label': label,
            'ends': ends,
            'diversity': 0.5,
            'sec_per_kimg': 2,
            'runs': [run],
            'flags': ['--a', '--b'],
        }

    lines = table({'rows': [row('c', None, 'failed'), row('b', 2.0, 'done'), row('a', 1.0, 'done')]}, ('--a',))
    assert lines.split('\n')[2:5] == [
        '| a | 1.0 | 0.50 | 2.0 | 1 done | `--b` |',
        '| b | 2.0 | 0.50 | 2.0 | 1 done | `--b` |',
        '| c | none | 0.50 | 2.0 | 1 failed | `--b` |',
    ]
