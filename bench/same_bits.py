"""Same bits: the command lines of an earlier commit and of this tree, run side by side and compared bit for bit.

    python bench/same_bits.py --base=68bf1d1 --keep=/tmp/same_bits
    python bench/same_bits.py --base=68bf1d1 --only=cfg/squeeze-fp32

Four steps of every --cfg, every loss, every term, every kind of augmentation and of run, drawing, measuring and
conversion (bench/same_bits_cases.py). The base is checked out into a temporary worktree. Each tree is used through its
command lines alone, and judged by its files alone: states and snapshots tensor by tensor, records without times and
provenance, pixels, numbers (bench/fingerprint.py). A refactoring changes none of them.

--keep holds the results of the base by case, so that the next comparison with that commit runs this tree only, and the
folders of the cases that differ. Exit code: 0 if all cases are equal; 1 if one differs, or fails in either tree.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere
sys.path.append(str(Path(__file__).resolve().parent))  # last: bench/metrics.py is not the package

import fingerprint
from same_bits_cases import Case, all_cases
from same_bits_data import DATA_VERSION, make_data
from same_bits_trees import ENVIRONMENT, ROOT, Result, describe, run_cases

from dnnlib.command import run_command

# ---- the base


@contextlib.contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Checks a commit out into a temporary folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix='same_bits-') as folder:
        tree = Path(folder).resolve() / 'base'
        git('worktree', 'add', '--quiet', '--detach', str(tree), commit)
        try:
            yield tree
        finally:
            git('worktree', 'remove', '--force', str(tree))


def git(*args: str) -> str:
    """Returns what a git command of this repository prints."""
    done = subprocess.run(['git', '-C', str(ROOT), *args], capture_output=True, text=True)
    if done.returncode != 0:
        raise click.ClickException(f'git {" ".join(args)}: {done.stderr.strip()}')
    return done.stdout.strip()


@dataclass(frozen=True)
class Kept:
    """Results of the base from earlier comparisons, one file per case. Failures are not kept."""

    folder: Path

    def path(self, case: Case) -> Path:
        """Returns the file of a case, named by all that decides its result besides the commit."""
        libraries = {name: importlib.metadata.version(name) for name in ('torch', 'numpy', 'pillow', 'scipy')}
        text = json.dumps([asdict(case), libraries, ENVIRONMENT, fingerprint.VERSION], sort_keys=True)
        return self.folder / f'{case.name.replace("/", "-")}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json'

    def load(self, cases: list[Case]) -> dict[str, Result]:
        """Returns the kept results among those of `cases`, by name."""
        return {case.name: Result(files=json.loads(self.path(case).read_text())) for case in cases if self.has(case)}

    def has(self, case: Case) -> bool:
        """Whether a case was run before."""
        return self.path(case).exists()

    def store(self, cases: list[Case], results: dict[str, Result]) -> None:
        """Writes the results of cases that did not fail."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            if not results[case.name].failure:
                self.path(case).write_text(json.dumps(results[case.name].files))


# ---- the report


def verdict(base: Result, here: Result) -> str:
    """Returns '' if two results are equal, else one line with the first difference."""
    failures = [f'{where}: {r.failure}' for where, r in (('base', base), ('here', here)) if r.failure]
    if failures:
        return f'failed in {"; ".join(failures)}'
    found = fingerprint.differences(base.files, here.files)
    return f'{len(found)} of {len(base.files)} entries differ; {found[0]}' if found else ''


def report(cases: list[Case], base: dict[str, Result], here: dict[str, Result]) -> int:
    """Prints a line per case that differs or fails, and the sum.

    Args:
        cases: Cases in the order of the report.
        base: Results of the base, by name.
        here: Results of this tree, by name.

    Returns:
        The number of cases that differ or fail.
    """
    verdicts = {case.name: verdict(base[case.name], here[case.name]) for case in cases}
    width = max(map(len, verdicts))
    bad = {name: text for name, text in verdicts.items() if text}
    for name, text in bad.items():
        click.echo(f'{name:{width}s}  {text}')
    entries = sum(len(result.files) for result in base.values())
    click.echo(f'{len(cases) - len(bad)} of {len(cases)} cases equal, {entries} entries')
    return len(bad)


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--base', required=True, metavar='COMMIT', help='Commit to compare this tree with.')
@click.option('--only', multiple=True, metavar='PATTERN', help='Cases with such names, e.g. cfg/squeeze-*.')
@click.option('--jobs', type=click.IntRange(1), default=2, show_default=True, help='Command lines side by side.')
@click.option('--list', 'list_only', is_flag=True, help='Print the names of the cases and stop.')
@click.option('--keep', metavar='DIR', help='Folder for results of the base, and for the files of both trees.')
def main(base: str, only: tuple[str, ...], jobs: int, list_only: bool, keep: str | None) -> None:
    """Compares the results of this tree with those of an earlier commit, bit for bit."""
    began = time.monotonic()
    commit = git('rev-parse', '--verify', f'{base}^{{commit}}')
    with contextlib.ExitStack() as stack:
        work = Path(keep or stack.enter_context(tempfile.TemporaryDirectory(prefix='same_bits-'))).resolve()
        kept = Kept(work / f'base-{commit[:12]}')
        tree = functools.cache(lambda: stack.enter_context(worktree(commit)))  # only if something is to be run in it
        cases = [case for case in cases_of(tree, kept.folder, work) if matches(case, only)]
        if list_only:
            return click.echo('\n'.join(case.name for case in cases))
        if not cases:
            raise click.ClickException(f'--only={" --only=".join(only)}: no such case; --list shows them')
        missing = [case for case in cases if not kept.has(case)]
        click.echo(f'{len(cases)} cases; {len(cases) - len(missing)} results of {commit[:12]} are kept')
        both = jobs > 1 and bool(missing)  # both trees side by side
        share = jobs // 2 if both else jobs
        runs = work / 'runs'
        shutil.rmtree(runs, ignore_errors=True)
        with ThreadPoolExecutor(2 if both else 1) as pool:
            there = pool.submit(lambda: run_cases(tree(), missing, runs / 'base', share) if missing else {})
            here = pool.submit(run_cases, ROOT, cases, runs / 'here', share)
            results = kept.load(cases) | there.result()
        kept.store(missing, results)
        num_bad = report(cases, results, here.result())
    click.echo(f'{time.monotonic() - began:.0f} s')
    sys.exit(1 if num_bad else 0)


def cases_of(tree: Any, folder: Path, work: Path) -> list[Case]:
    """Returns all cases with the --cfg names of the base, and writes their data into `work` if they are missing.

    Args:
        tree: Function that returns the worktree of the base.
        folder: Folder with the kept results of the base; `cfgs.json` there holds the configs.
        work: Folder of the comparison.
    """
    path = folder / 'cfgs.json'
    if not path.exists():
        records = describe(tree(), folder / 'cfgs' / 'empty')
        path.write_text(json.dumps(records, indent=1))
    data = work / f'data-{DATA_VERSION}'
    make_data(data)
    return all_cases(json.loads(path.read_text()), data)


def matches(case: Case, patterns: tuple[str, ...]) -> bool:
    """Whether --only selects a case."""
    return not patterns or any(fnmatch(case.name, pattern) or pattern in case.name for pattern in patterns)


if __name__ == '__main__':
    run_command(main)
