"""Checks of training on fake CUDA tensors, on a machine without a GPU.

    python -m tests.support.fake_cuda [--only=NAME] GROUP ...

Prints one line of JSON per case: {"group", "name", "problem"}; the problem is the traceback of an error, null without
one. Groups: recipes, variants, tasks; operations, harmless, faults; counts; exit, which should be the last.
"""

from __future__ import annotations

import argparse
import functools
import json
import traceback
from collections.abc import Callable

from dnnlib.command import run_command
from tests.support.fake_cuda import guard

GROUPS = ('recipes', 'variants', 'tasks', 'operations', 'harmless', 'faults', 'counts', 'exit')


def checks(group: str) -> dict[str, Callable[[], object]]:
    """Returns the cases of a group."""
    from tests.support.fake_cuda import cases, drawing, faults, known_counts

    if group in ('recipes', 'variants'):
        found = cases.recipes() if group == 'recipes' else cases.variants()
        return {name: functools.partial(cases.run, case) for name, case in found.items()}
    if group == 'tasks':
        return {name: functools.partial(drawing.perform, name) for name in drawing.TASKS}
    if group == 'faults':
        return {name: functools.partial(faults.run_with, fault) for name, fault in faults.FAULTS.items()}
    if group == 'counts':
        return {name: functools.partial(known_counts.check, name) for name in known_counts.KNOWN}
    if group == 'exit':
        return {'a thread of autograd is late': faults.delay_autograd}
    operations = {'operations': faults.OPERATIONS, 'harmless': faults.HARMLESS}[group]
    return {name: functools.partial(faults.operate, operation) for name, operation in operations.items()}


def main() -> None:
    """Runs the cases of the groups and prints their outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('groups', nargs='+', choices=GROUPS, metavar='GROUP')
    parser.add_argument('--only', metavar='NAME')
    arguments = parser.parse_args()
    guard.load()
    from tests.support.fake_cuda import stubs

    stubs.prepare()
    for group in arguments.groups:
        for name, check in checks(group).items():
            if arguments.only in (None, name):
                line = {'group': group, 'name': name, 'problem': problem_of(check)}
                print(json.dumps(line), flush=True)


def problem_of(check: Callable[[], object]) -> str | None:
    """Returns the traceback of what a check raises; None if it raises nothing."""
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == '__main__':
    run_command(main)
