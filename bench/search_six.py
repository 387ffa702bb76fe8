"""Search for small-scale settings of six generators, the same for each: two losses and three learning rates.

    python bench/search_six.py --out=runs/search_drawings
    python bench/search_six.py --data=fashion-mnist.zip --cond=1 --out=runs/search_fashion

Every generator is trained with its recipe's loss and with a relativistic loss with R1 and R2, both at one and two times
its recipe's learning rates, then with the better loss at four times: 30 short runs per data set, which `compare.py`
trains and measures. OUT/search.md is their table, and OUT/best.toml a plan of the six with the best setting of each,
from which plans/six_drawings.toml and plans/six_fashion.toml were made. The same command continues a search.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, from anywhere

from dnnlib.command import run_command
from dnnlib.files import write_bytes
from ganfoundry.compare.options import CompareOptions
from ganfoundry.compare.plan_file import plan_text
from ganfoundry.compare.race import run_comparison

METRIC = 'fd_efflite512'
# Factors on the learning rates of the recipe: both losses are trained with each of FACTORS, then the better loss with
# LAST_FACTOR.
FACTORS = (1, 2)
LAST_FACTOR = 4
LOSSES = ('own', 'relativistic')

Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """One of the six.

    lr: its recipe's rate; for stylegan2 that of `auto` at small sizes. flags: reduced widths. own: fields of the run
    with its recipe's loss.
    """

    lr: float
    flags: tuple[str, ...] = ()
    fields: Fields = field(default_factory=dict)
    own: Fields = field(default_factory=dict)


NARROW = ('--cbase=512', '--cmax=64')
SMALL_W = {'generator.z_dim': 128, 'generator.w_dim': 128}
# Widths for two CPU cores: a kimg takes 3 to 5 s with each. R1's gamma of the StyleGAN2 family is for larger images.
NETWORKS = {
    'stylegan2': Network(
        lr=0.0025,
        flags=(*NARROW, '--map-depth=2'),
        fields=SMALL_W | {'pl.weight': 0, 'style_mixing_prob': 0},
        own={'r1.gamma': 0.5},
    ),
    'squeeze': Network(lr=0.0025, flags=NARROW, fields=SMALL_W, own={'r1.gamma': 0.5}),
    'ifgan': Network(lr=0.0025, flags=NARROW, own={'r1.gamma': 0.5}),
    'gconv': Network(
        lr=0.0002,
        fields={'generator.channel_max': 24, 'discriminator.channel_max': 24, 'n_critic': 1, 'g_batch_mult': 1},
    ),
    'giu': Network(
        lr=0.0002,
        fields={
            'generator.channel_base': 512,
            'generator.channel_min': 32,
            'discriminator.channel_base': 512,
            'discriminator.channel_min': 32,
        },
    ),
    'igan': Network(
        lr=0.0002,
        fields={
            'generator.channel_max': 64,
            'generator.stem': 32,
            'generator.widths': [32, 16],
            'generator.tail': 16,
            'discriminator.channel_max': 64,
            'discriminator.stem': 32,
            'discriminator.widths': [16, 8],
        },
    ),
}
RELATIVISTIC: Fields = {
    'loss.kind': 'relativistic',
    'r1.gamma': 0.5,
    'r2.gamma': 0.5,
    'r1.interval': 4,
    'gp.weight': 0,
}


def row_of(name: str, loss: str, factor: int) -> tuple[tuple[str, ...], Fields]:
    """Returns the flags and the config fields of one setting of a network."""
    network = NETWORKS[name]
    lr = f'{network.lr * factor:g}'
    flags = (*network.flags, f'--glr={lr}', f'--dlr={lr}', '--aug=noaug')
    return flags, network.fields | (network.own if loss == 'own' else RELATIVISTIC) | {'lr_decay_kimg': 0}


Setting = tuple[str, str, int]  # network, loss, factor of the rates


def first_settings() -> dict[str, Setting]:
    """Returns the settings of both losses, by the labels of their rows."""
    return {
        label(name, loss, factor): (name, loss, factor) for factor in FACTORS for loss in LOSSES for name in NETWORKS
    }


def last_settings(record: dict[str, Any]) -> dict[str, Setting]:
    """Returns the setting of each network's better loss at the largest rates. record: table.json of the first ones."""
    losses = {name: loss for name, loss, _ in best(record).values()}
    return {label(name, loss, LAST_FACTOR): (name, loss, LAST_FACTOR) for name, loss in losses.items()}


def label(name: str, loss: str, factor: int) -> str:
    """Returns the label of a setting's row."""
    return f'{name}-{loss}-{factor}x'


def setting_of(row: str) -> Setting:
    """Returns the setting of a row. row: its label."""
    name, loss, factor = row.split('-')
    return name, loss, int(factor.removesuffix('x'))


def plan_of(rows: dict[str, Setting], options: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of a plan file with some settings. options: its entries that differ between the plans."""
    shared = {'resolution': 32, 'batch': 16, 'precision': 'bf16', 'device': 'cpu', 'threads': 1}
    tables = {}
    for row, (name, loss, factor) in rows.items():
        flags, fields = row_of(name, loss, factor)
        tables[row] = {'cfg': name, 'flags': flags, 'set': fields}
    return shared | options | {'flags': ['--workers=0'], 'rows': tables}


def best(record: dict[str, Any]) -> dict[str, Setting]:
    """Returns each network's best setting among those that did not collapse. record: content of table.json."""
    found: dict[str, Setting] = {}
    rows = [row for row in record['rows'] if all(run['state'] == 'done' for run in row['runs'])]
    for row in sorted(rows, key=lambda row: row['ends'][METRIC]['mean']):
        setting = setting_of(row['label'])
        found.setdefault(setting[0], setting)
    return {name: found[name] for name in NETWORKS if name in found}


def table(record: dict[str, Any]) -> str:
    """Returns metric and diversity of every setting as a Markdown table: a line per network and loss."""
    rows = {setting_of(row['label']): row for row in record['rows']}
    chosen = best(record)
    factors = (*FACTORS, LAST_FACTOR)
    lines = [f'| network | loss | {" | ".join(f"rates x {factor}" for factor in factors)} |', '|---|---|---|---|---|']
    for name in NETWORKS:
        for loss in LOSSES:
            settings = [(name, loss, factor) for factor in factors]
            cells = [cell(rows[s], chosen.get(name) == s) if s in rows else '' for s in settings]
            lines.append(f'| `{name}` | {loss} | {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def cell(row: dict[str, Any], is_chosen: bool) -> str:
    """Returns metric (diversity) of a row's run and, if it is not done, its state."""
    mean, states = row['ends'][METRIC]['mean'], [run['state'] for run in row['runs']]
    text = 'none' if mean is None else f'{mean:.0f}'
    text += '' if row['diversity'] is None else f' ({row["diversity"]:.2f})'
    text = f'**{text}**' if is_chosen else text
    return ', '.join([text, *(state for state in states if state != 'done')])


def compare(rows: dict[str, Setting], options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Trains settings in a folder, which keeps what is trained, and returns the content of their table.json."""
    write_bytes(folder / 'plan.toml', plan_text(plan_of(rows, options)).encode())
    if code := run_comparison(CompareOptions(plan=str(folder / 'plan.toml'), out=str(folder)), sys.argv[1:]):
        sys.exit(code)
    record: dict[str, Any] = json.loads((folder / 'table.json').read_text())
    return record


@click.command(context_settings={'help_option_names': ['-h', '--help'], 'max_content_width': 110})
@click.option('--data', default='training/data/embedded/peeps64.zip', show_default=True, metavar='PATH', help='Images.')
@click.option('--cond', default=False, show_default=True, type=bool, help='Train on the labels of the images.')
@click.option('--kimg', default=10, show_default=True, type=click.IntRange(1), help='Length of every run.')
@click.option('--jobs', default=1, show_default=True, type=click.IntRange(1), help='Runs at a time, one thread each.')
@click.option('--out', required=True, metavar='DIR', help='Folder of the runs and of the table.')
def main(data: str, cond: bool, kimg: int, jobs: int, out: str) -> None:
    """Trains every setting of the six generators, and writes the table and a plan with the best of each."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    common = {'data': data, 'cond': cond}
    search = common | {'kimg': kimg, 'metrics': [METRIC], 'measurements': 3, 'jobs': jobs}
    first = first_settings()
    both = first | last_settings(compare(first, search, folder))
    record = compare(both, search, folder)
    final = common | {'kimg': 60, 'seeds': '0-1', 'metrics': ['fd_efflite1k'], 'measurements': 4}
    write_bytes(folder / 'best.toml', plan_text(plan_of(best(record), final)).encode())
    text = table(record)
    write_bytes(folder / 'search.md', f'`python bench/search_six.py {shlex.join(sys.argv[1:])}`\n\n{text}'.encode())
    click.echo(text)


if __name__ == '__main__':
    run_command(main)
