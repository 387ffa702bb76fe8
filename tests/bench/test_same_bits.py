"""bench/same_bits.py runs two trees in the same way, names the first difference, and hides no failure."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from bench import same_bits
from bench.same_bits_cases import END, Case, Step, all_cases, narrow, train

# A tree of one command: it prints a line of JSON, or saves a state until it is asked to stop.
TRAIN = """
import json, os, pathlib, signal, sys
print('{not on stdout', file=sys.stderr)
import training
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
print(json.dumps({'number': training.NUMBER, 'timestamp': os.getpid()}))
for nimg in (4, 16, 28) if 'save' in sys.argv[1:] else ():
    state = pathlib.Path('runs', 'state', f'{nimg:09d}')
    state.mkdir(parents=True)
    os.replace(state, state)
    if stopped:
        sys.exit(143)
"""
CASE = Case('cfg/toy', (Step('train.py', ('quick',)), Step('train.py', ('save',), stop_at=END)))


def tree_of(path: Path, number: int) -> Path:
    (path / 'training').mkdir(parents=True)
    (path / 'training' / '__init__.py').write_text(f'NUMBER = {number}\n')
    (path / 'train.py').write_text(TRAIN)
    return path


def run(tree: Path, case: Case, folder: Path) -> same_bits.Result:
    return same_bits.run_cases(tree, [case], folder, 1)[case.name]


def test_trees_run_their_own_modules_and_a_number_that_differs_is_named(tmp_path):
    base = run(tree_of(tmp_path / 'base', 1), CASE, tmp_path / 'runs' / 'base')
    same = run(tree_of(tmp_path / 'same', 1), CASE, tmp_path / 'runs' / 'same')
    here = run(tree_of(tmp_path / 'here', 2), CASE, tmp_path / 'runs' / 'here')
    assert sorted((tmp_path / 'runs/base/cfg-toy/runs/state').iterdir())[-1].name == f'{END:09d}'
    assert base.failure == same_bits.verdict(base, same) == ''
    assert same_bits.verdict(base, here) == '2 of 2 entries differ; output 1: line 1.number: 1 -> 2'


def test_a_module_of_another_tree_is_an_error(tmp_path, monkeypatch):
    tree, other = tree_of(tmp_path / 'tree', 1), tmp_path / 'other'
    (tree / 'metrics').mkdir()
    (tree / 'metrics' / '__init__.py').touch()
    other.mkdir()
    (other / 'metrics.py').touch()
    (tree / 'train.py').write_text(f'import sys\nsys.path.insert(0, {str(other)!r})\nimport metrics\n')
    with pytest.raises(click.ClickException, match=r'other/metrics\.py'):
        run(tree, Case('x', (Step('train.py', ()),)), tmp_path / 'runs')


def test_a_failure_in_one_tree_or_in_both_is_no_equality():
    good, bad = (
        same_bits.Result(files={'a': '1'}),
        same_bits.Result(files={}, failure='train.py: exit code 2'),
    )
    assert same_bits.verdict(good, bad) == 'failed in here: train.py: exit code 2'
    assert same_bits.verdict(bad, bad) == 'failed in base: train.py: exit code 2; here: train.py: exit code 2'
    assert same_bits.report([Case('c', ())], {'c': bad}, {'c': bad}) == 1


def test_failures_of_the_base_are_not_kept(tmp_path):
    kept, cases = same_bits.Kept(tmp_path / 'kept'), [Case('good', ()), Case('bad', ())]
    kept.store(cases, {'good': same_bits.Result(files={'a': '1'}), 'bad': same_bits.Result(files={}, failure='x')})
    assert kept.load(cases) == {'good': same_bits.Result(files={'a': '1'})}
    assert not kept.has(Case('good', (train('--seed=1'),)))  # another command line is another case


def test_every_cfg_is_a_case_in_both_precisions_and_names_are_unique(tmp_path):
    record = {'generator': {'z_dim': 512}, 'discriminator': {'mbstd_group': 4}, 'pl': {'interval': None}}
    record['r1'] = {'interval': 16}
    assert narrow(record) == (
        '--set=generator.z_dim=16', '--set=discriminator.mbstd_group=2', '--set=r1.interval=2',
    )  # fmt: skip
    names = [case.name for case in all_cases(dict.fromkeys(('auto', 'squeeze', 'dcgan'), record), tmp_path)]
    assert len(set(names)) == len(names)
    assert {'cfg/dcgan-fp32', 'cfg/dcgan-bf16', 'loss/hinge', 'term/lecam', 'metric/efflite'} <= set(names)


def test_a_pattern_is_replaced_by_the_newest_path_that_it_matches(tmp_path):
    for name in ('00000-a', '00001-b'):
        (tmp_path / 'runs' / name).mkdir(parents=True)
    step = Step('generate.py', ('--network=runs/0000*', 'runs/00000-*', '--seeds=0'))
    assert step.words(tmp_path) == ['--network=runs/00001-b', 'runs/00000-a', '--seeds=0']
