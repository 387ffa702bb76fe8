"""Which generator suits my data? Trains every --cfg from every seed under one budget; writes a table and a sheet.

    python bench/compare.py --cfgs=stylegan2,squeeze --resolution=32 --kimg=20 --seeds=0,1,2 --small --out=runs/compare

A row is a --cfg, or LABEL=CFG to have one twice: --cfgs=squeeze,r4=squeeze --set r4:generator.ratio=4, or
--cfgs=low=squeeze,full=squeeze --flag full:--precision=fp32.

Every run sees the same data, --kimg and --batch. All else is its recipe's, but for what belongs to the recipe's own
length, which is 1000s of kimg:
- `lr_decay_kimg` keeps its share of the run: recipe's decay / recipe's kimg * --kimg;
- an average of weights without a ramp gets `ema.rampup=0.05`: its half-life is at most a twentieth of the images shown.
--set has the last word, in both.

The same command again trains what is missing: a finished or diverged run stays, an interrupted one continues, a failed
one is tried again. OUT/ROW-seedS/ holds the runs; OUT/table.md, table.json, curves.png and sheet.png are the answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere
sys.path.append(str(Path(__file__).resolve().parent))  # last, so that bench/metrics.py does not hide the package

from compare_report import Plan, Row, Trained, end_of, write_report

from dnnlib.command import run_command
from dnnlib.errors import ConfigError
from dnnlib.files import read_jsonl, write_json
from dnnlib.folders import exclusive
from dnnlib.log import format_time
from dnnlib.registry import load_file
from dnnlib.signals import StopSignal
from metrics.spec import parse_metric
from training.data.dataset import DataConfig, ImageDataset
from training.interface import ImageSpec
from training.registry import RECIPES
from training.run.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
# Widths for a budget of CPU hours, used with --small: at 32x32 the papers' own are too slow for a few cores, where
# they are not small already.
STYLE = ('--cbase=1024', '--cmax=128')
RESIDUAL = ('--set=generator.channel_max=64', '--set=discriminator.channel_max=64')
SMALL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(('auto', 'stylegan2', 'squeeze', 'gconv-stylegan2', 'ifgan', 'traditional'), STYLE),
    'gconv': RESIDUAL,
    **dict.fromkeys(('giu', 'giu-base', 'giu-norbn', 'giu-nogiu', 'sngan', 'sagan', 'wgan-gp', 'lsgan', 'igan'), ()),
    'dcgan': ('--set=generator.channel_base=1024',),
}
TICKS_PER_MEASUREMENT = 2
POLL_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One training run. flags: what decides it, as train.py takes them. folder: of the run and of what it said."""

    row: Row
    seed: int
    flags: tuple[str, ...]
    folder: Path

    @property
    def record(self) -> Path:
        """How it went: {'flags', 'state', 'reason'}."""
        return self.folder / 'job.json'

    @property
    def errors(self) -> Path:
        """The stderr of the last sitting."""
        return self.folder / 'errors.txt'

    def run_folder(self) -> RunFolder | None:
        """Returns the run folder, or None before train.py has made it."""
        found = sorted(self.folder.glob('[0-9]*-*/config.json'))
        return RunFolder(found[-1].parent) if found else None

    def state(self) -> tuple[str, str]:
        """Returns (state, reason) of the last launch; 'new' before the first."""
        if not self.record.exists():
            return 'new', ''
        record = json.loads(self.record.read_text())
        if record['flags'] == list(self.flags):
            return record['state'], record['reason']
        if self.run_folder() is None:  # refused before it began: other flags are the cure
            return 'new', ''
        raise ConfigError(f'--out: {self.folder} was trained with other flags; name another --out, or remove it')


# ---- from flags to jobs


def parse_rows(cfgs: str, sets: Sequence[str], flags: Sequence[str], small: bool) -> list[Row]:
    """Returns the rows of --cfgs. 'LABEL:FIELD=VALUE' in --set and --flag applies to one row, 'FIELD=VALUE' to all."""
    pairs = [(label, cfg or label) for label, _, cfg in (item.strip().partition('=') for item in cfgs.split(','))]
    labels = [label for label, _ in pairs]
    if len(set(labels)) < len(labels):
        raise ConfigError(f'--cfgs={cfgs}: a name stands there twice; tell them apart with LABEL=CFG')
    own: dict[str, list[str]] = {label: [] for label in labels}
    for option, item in [*(('--set', item) for item in sets), *(('--flag', item) for item in flags)]:
        label, colon, setting = item.partition(':')
        if not colon or '=' in label:
            label, setting = '', item
        elif label not in own:
            raise ConfigError(f'{option} {item}: {label} is no row; --cfgs has {", ".join(labels)}')
        if option == '--flag' and not setting.startswith('--'):
            raise ConfigError(f'--flag {item}: expected [LABEL:]--NAME=VALUE, a flag of train.py')
        for name in [label] if label else labels:
            own[name].append(f'--set={setting}' if option == '--set' else setting)
    for label, cfg in pairs:
        RECIPES.get(cfg)  # a name that nobody knows is refused before hours of training
        if small and cfg not in SMALL and not own[label]:
            raise ConfigError(
                f'--small: bench/compare.py has no reduced widths for {cfg}; give it its own, '
                f'--set {label}:FIELD=VALUE, or leave --small out'
            )
    widths = SMALL if small else {}
    return [Row(label=label, cfg=cfg, flags=(*widths.get(cfg, ()), *own[label])) for label, cfg in pairs]


def budget_flags(cfg: str, spec: ImageSpec, kimg: int) -> tuple[str, ...]:
    """Returns the flags that adapt a recipe to this length; see the top of the file."""
    try:
        recipe = RECIPES.get(cfg).make(spec, 1)
    except ConfigError:  # it cannot draw such images: its runs will say so, and be reported
        return ()
    flags = []
    if recipe.lr_decay_kimg > 0:
        flags.append(f'--set=lr_decay_kimg={recipe.lr_decay_kimg / recipe.kimg * kimg:g}')
    if recipe.ema.kimg > 0 and recipe.ema.rampup is None:
        flags.append('--set=ema.rampup=0.05')
    return tuple(flags)


def make_jobs(plan: Plan, spec: ImageSpec, common: Sequence[str], out: Path) -> list[Job]:
    """Returns a job per row and seed, seeds outermost, so that an early stop leaves complete comparisons."""
    jobs = []
    for seed in plan.seeds:
        for row in plan.rows:
            flags = (f'--cfg={row.cfg}', *common, *budget_flags(row.cfg, spec, plan.kimg), f'--seed={seed}', *row.flags)
            jobs.append(Job(row=row, seed=seed, flags=flags, folder=out / f'{row.label}-seed{seed}'))
    return jobs


def common_flags(plan: Plan, options: dict[str, Any]) -> list[str]:
    """Returns the flags shared by all runs: data, budget, and times of measurement."""
    tick = plan.kimg / options['measurements'] / TICKS_PER_MEASUREMENT
    flags = [f'--kimg={plan.kimg}', f'--batch={plan.batch}', f'--metrics={plan.metric or "none"}', f'--tick={tick:g}']
    flags += [f'--snap={TICKS_PER_MEASUREMENT}', '--keep=1', '--set=grid_images=64']
    flags += [f'--{name}={options[name]}' for name in ('resolution', 'precision', 'device') if options[name]]
    flags += [f'--plugin={Path(path).absolute()}' for path in options['plugin']]
    return [*flags, f'--data={Path(options["data"]).absolute()}'] if options['data'] else flags


# ---- training


def start(job: Job, threads: int) -> subprocess.Popen:
    """Starts train.py in its own session: Ctrl-C reaches only this process, which asks its children to stop."""
    job.folder.mkdir(parents=True, exist_ok=True)
    write_json(job.record, {'flags': list(job.flags), 'state': 'running', 'reason': ''})
    folder = job.run_folder()
    machine = [flag for flag in job.flags if flag.startswith(('--plugin=', '--device='))]
    flags = [f'--outdir={job.folder}', *job.flags] if folder is None else [f'--resume={folder.path}', *machine]
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)}
    with job.errors.open('w') as errors:
        return subprocess.Popen(
            [sys.executable, str(ROOT / 'train.py'), *flags],
            stdout=subprocess.DEVNULL,  # the run's own log.txt has it
            stderr=errors,
            env=environment,
            start_new_session=True,
        )


def finish(job: Job, exit_code: int, plan: Plan) -> tuple[str, str]:
    """Records and returns (state, reason) of a sitting that has ended."""
    lines = job.errors.read_text(errors='replace').split('\n')
    said = next((line.removeprefix('Error: ') for line in reversed(lines) if line.strip()), 'it said nothing')
    folder = job.run_folder()
    if exit_code in (129, 130, 143):
        state, reason = 'interrupted', 'asked to stop; the same command continues it'
    elif exit_code < 0:
        state, reason = 'interrupted', f'killed by signal {-exit_code}; the same command continues it'
    elif exit_code > 0:
        state, reason = 'diverged' if 'training has diverged' in said else 'failed', said
    elif folder is not None and plan.metric and end_of(read_jsonl(folder.metric(plan.metric)), plan.kimg) is None:
        state, reason = 'failed', f'trained, but {plan.metric} could not be measured: {folder.path / "log.txt"}'
    else:
        state, reason = 'finished', ''
    write_json(job.record, {'flags': list(job.flags), 'state': state, 'reason': reason})
    return state, reason


def train_all(jobs: list[Job], plan: Plan, stop: StopSignal) -> None:
    """Trains what is missing, `plan.jobs` at a time, until all have ended or a signal comes."""
    waiting = [job for job in jobs if job.state()[0] not in ('finished', 'diverged')]
    total, number = len(waiting), 0
    running: dict[Job, tuple[subprocess.Popen, int, float]] = {}
    asked = False
    while running or (waiting and not stop.requested()):
        while waiting and len(running) < plan.jobs and not stop.requested():
            job, number = waiting.pop(0), number + 1
            click.echo(f'[{number}/{total}] {job.row.label} seed {job.seed}: {job.folder}')
            running[job] = start(job, plan.threads), number, time.monotonic()
        if stop.requested() and not asked:
            asked = True
            for child, _, _ in running.values():
                child.terminate()  # it finishes its step and saves
        time.sleep(POLL_S)
        for job, (child, place, began) in list(running.items()):
            if child.poll() is not None:
                del running[job]
                state, reason = finish(job, child.returncode, plan)
                took = format_time(time.monotonic() - began)
                click.echo(
                    f'[{place}/{total}] {job.row.label} seed {job.seed}: {state} after {took}. {reason}'.rstrip()
                )


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--cfgs', required=True, help='Comma list of --cfg names, or of LABEL=CFG.')
@click.option('--data', help='Images: a zip or a folder.  [default: the embedded set]', metavar='PATH')
@click.option('--resolution', type=int, help='Train at a lower resolution.')
@click.option('--kimg', type=click.IntRange(1), default=20, show_default=True, help='Length of every run.')
@click.option('--batch', type=click.IntRange(1), default=16, show_default=True, help='Images in a step.')
@click.option('--seeds', default='0', show_default=True, help='Comma list; every row is trained from each.')
@click.option('--out', default='runs/compare', show_default=True, metavar='DIR')
@click.option('--metric', default='fd_efflite2k', show_default=True, help='What decides; or none.')
@click.option('--measurements', type=click.IntRange(3), default=6, show_default=True, help='In the course of a run.')
@click.option('--set', 'sets', multiple=True, metavar='[LABEL:]A.B=C', help='Set a config field, of one row or of all.')
@click.option('--flag', 'flags', multiple=True, metavar='[LABEL:]--A=B', help='A flag of train.py, of one row or all.')
@click.option('--small', is_flag=True, help='Reduced widths, for CPUs: the table SMALL in this file.')
@click.option('--jobs', type=click.IntRange(1), default=1, show_default=True, help='Runs side by side.')
@click.option('--threads', type=click.IntRange(1), help='CPU threads of a run.  [default: cores / jobs]')
@click.option('--plugin', multiple=True, metavar='FILE', help='Python file that registers more --cfg names.')
@click.option('--precision', help='Of every run; as train.py takes it.')
@click.option('--device', help='cpu or cuda.  [default: what is there]')
def main(
    cfgs: str, seeds: str, out: str, sets: tuple[str, ...], flags: tuple[str, ...], small: bool, **options: Any
) -> None:
    """Trains generators side by side and reports which one suits the data."""
    for path in options['plugin']:
        load_file(path)
    metric = None if options['metric'] == 'none' else parse_metric(options['metric']).name
    if not all(seed.strip().isdigit() for seed in seeds.split(',')):
        raise ConfigError(f'--seeds={seeds}: expected whole numbers and commas, such as 0,1,2')
    dataset = ImageDataset(DataConfig(path=options['data'], resolution=options['resolution']))
    plan = Plan(
        rows=tuple(parse_rows(cfgs, sets, flags, small)),
        seeds=tuple(dict.fromkeys(int(seed) for seed in seeds.split(','))),
        kimg=options['kimg'],
        batch=options['batch'],
        metric=metric,
        jobs=options['jobs'],
        threads=options['threads'] or max((os.cpu_count() or 1) // options['jobs'], 1),
        command=tuple(sys.argv[1:]),
    )
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    jobs = make_jobs(plan, dataset.spec, common_flags(plan, options), target)
    with exclusive(target / '.lock'), StopSignal() as stop:
        train_all(jobs, plan, stop)
        trained = [Trained(job.row, job.seed, *job.state(), job.run_folder()) for job in jobs]
        click.echo(write_report(plan, dataset, trained, target))
        if stop.requested():
            sys.exit(stop.exit_code)


if __name__ == '__main__':
    run_command(main)
