"""Search for the settings of `make demo`: rounds of short runs, from one change at a time to the best with three seeds.

    python bench/search_demo.py --round=1 --jobs=2
    python bench/search_demo.py --round=2 --jobs=2

A round is a comparison, with the folder OUT/1, OUT/2, ...: the same command continues it, and `compare.py` measures it.
OUT/1/search.md is the table of all its settings, best first. bench/results/demo.md has the tables of the search that
chose today's demo.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.files import write_bytes
from ganfoundry.compare.options import CompareOptions
from ganfoundry.compare.plan_file import plan_text
from ganfoundry.compare.race import run_comparison

METRIC = 'fd_efflite1k'
# Networks for two CPU cores, the first settings of the demo, and what every setting changes or keeps.
SMALL = ('--cbase=1024', '--cmax=128', '--gamma=0.5', '--glr=0.005', '--dlr=0.005', '--aug=noaug', '--workers=0')
RELATIVISTIC = ('--set=loss.kind=relativistic', '--set=r2.gamma=0.5', '--set=r1.interval=4')


def lr(value: float) -> tuple[str, ...]:
    """Returns the flags of one learning rate for G and D."""
    return f'--glr={value:g}', f'--dlr={value:g}'


def penalties(gamma: float) -> tuple[str, ...]:
    """Returns the flags of one weight for R1 and R2."""
    return f'--gamma={gamma:g}', f'--set=r2.gamma={gamma:g}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """A round of the search. shared: flags of every setting; settings: the flags that are a setting's own, by name."""

    kimg: int
    seeds: str
    shared: tuple[str, ...]
    settings: dict[str, tuple[str, ...]]


# One change at a time: of the first demo, and of a relativistic loss with both penalties.
FIRST = Round(
    kimg=16,
    seeds='0',
    shared=SMALL,
    settings={
        'first-demo': (),
        'r1-r2': RELATIVISTIC[1:],
        'relativistic': RELATIVISTIC,
        **{
            name: (*RELATIVISTIC, *flags)
            for name, flags in {
                'gamma-0.1': penalties(0.1),
                'gamma-2': penalties(2),
                'every-step': ('--set=r1.interval=1',),
                'every-8': ('--set=r1.interval=8',),
                'lr-0.0025': lr(0.0025),
                'lr-0.01': lr(0.01),
                'lr-0.02': lr(0.02),
                'slow-g': ('--glr=0.0025',),
                'slow-d': ('--dlr=0.0025',),
                'batch-32': ('--batch=32',),
                'batch-32-lr-0.007': ('--batch=32', *lr(0.007)),
                'beta2-0.9': ('--set=g_opt.beta2=0.9', '--set=d_opt.beta2=0.9'),
                'lr-decay': ('--set=lr_decay_kimg=8',),
                'ema-0.1': ('--set=ema.rampup=0.1',),
                'ema-0.02': ('--set=ema.rampup=0.02',),
                'path-length': ('--set=pl.weight=2',),
                'w-128': ('--set=generator.z_dim=128', '--set=generator.w_dim=128'),
                'no-mbstd': ('--set=discriminator.mbstd_channels=0',),
                'd-resnet': ('--set=discriminator.architecture=resnet',),
                'narrow': ('--cbase=512', '--cmax=64'),
                'wide-d': ('--set=discriminator.channel_base=2048',),
                'diffaug': ('--aug=diffaug',),
                'mirror': ('--mirror=1',),
            }.items()
        },
    },
)

# What the first round found, together: a narrow W space, narrow networks, and larger learning rates.
SMALL_W = ('--set=generator.z_dim=128', '--set=generator.w_dim=128')
NARROW = ('--cbase=512', '--cmax=64')
SECOND = Round(
    kimg=60,
    seeds='0',
    shared=(*SMALL, *RELATIVISTIC, *SMALL_W),
    settings={
        'wide': lr(0.01),
        'narrow': (*NARROW, *lr(0.01)),
        'beta2-0.9': (*NARROW, *lr(0.01), '--set=g_opt.beta2=0.9', '--set=d_opt.beta2=0.9'),
        'gamma-1': (*NARROW, *lr(0.01), *penalties(1)),
        'logistic': (*NARROW, *lr(0.01), '--set=loss.kind=logistic'),
        'lr-decay': (*NARROW, *lr(0.01), '--set=lr_decay_kimg=20'),
    },
)

# The best three of the second round that have one loss and constant rates.
THIRD = Round(
    kimg=60,
    seeds='0-2',
    shared=SECOND.shared,
    settings={name: SECOND.settings[name] for name in ('wide', 'narrow', 'gamma-1')},
)

ROUNDS = {'1': FIRST, '2': SECOND, '3': THIRD}


def plan_of(chosen: Round, kimg: int, seeds: str, jobs: int) -> dict[str, Any]:
    """Returns the content of a round's plan file."""
    return {
        'kimg': kimg,
        'batch': 16,
        'resolution': 32,
        'seeds': seeds,
        'metrics': [METRIC],
        'measurements': 3,
        'jobs': jobs,
        'threads': 1,
        'precision': 'bf16',
        'device': 'cpu',
        'flags': chosen.shared,
        'rows': {name: {'cfg': 'squeeze', 'flags': flags} for name, flags in chosen.settings.items()},
    }


def order(row: dict[str, Any]) -> float:
    """Returns the metric of a row of table.json, by which the table is sorted; without one, it comes last."""
    mean = row['ends'][METRIC]['mean']
    return float('inf') if mean is None else mean


def table(record: dict[str, Any], shared: tuple[str, ...]) -> str:
    """Returns the settings of a comparison as a Markdown table, best first. record: content of its table.json."""
    lines = [f'| setting | {METRIC} | diversity | s/kimg | runs | flags |', '|---|---|---|---|---|---|']
    for row in sorted(record['rows'], key=order):
        mean, std = row['ends'][METRIC]['mean'], row['ends'][METRIC]['std']
        end = 'none' if mean is None else f'{mean:.1f}' if std is None else f'{mean:.1f} ± {std:.1f}'
        diversity = '' if row['diversity'] is None else f'{row["diversity"]:.2f}'
        speed = '' if row['sec_per_kimg'] is None else f'{row["sec_per_kimg"]:.1f}'
        states = [run['state'] for run in row['runs']]
        runs = ', '.join(f'{states.count(state)} {state}' for state in dict.fromkeys(states))
        flags = ' '.join(flag for flag in row['flags'] if flag not in shared)
        lines.append(f'| {row["label"]} | {end} | {diversity} | {speed} | {runs} | `{flags or "-"}` |')
    return '\n'.join(lines) + '\n'


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--round', 'number', type=click.Choice([*ROUNDS]), required=True, help='Round of the search.')
@click.option('--kimg', type=click.IntRange(1), help='Length of every run.  [default: that of the round]')
@click.option('--seeds', help='Training seeds.  [default: those of the round]', metavar='0,1,5-7')
@click.option('--jobs', default=1, show_default=True, type=click.IntRange(1), help='Runs at a time, one thread each.')
@click.option('--out', default='runs/search_demo', show_default=True, metavar='DIR')
def main(number: str, kimg: int | None, seeds: str | None, jobs: int, out: str) -> None:
    """Trains the settings of a round and writes the table of them all."""
    chosen = ROUNDS[number]
    folder = Path(out) / number
    folder.mkdir(parents=True, exist_ok=True)
    plan = plan_of(chosen, kimg or chosen.kimg, seeds or chosen.seeds, jobs)
    write_bytes(folder / 'plan.toml', plan_text(plan).encode())
    code = run_comparison(CompareOptions(plan=str(folder / 'plan.toml'), out=str(folder)), sys.argv[1:])
    text = table(json.loads((folder / 'table.json').read_text()), chosen.shared)
    write_bytes(folder / 'search.md', f'`python bench/search_demo.py {shlex.join(sys.argv[1:])}`\n\n{text}'.encode())
    click.echo(text)
    if code:
        sys.exit(code)


if __name__ == '__main__':
    run_command(main)
