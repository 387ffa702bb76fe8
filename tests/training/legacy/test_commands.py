"""Official files at the command lines: conversion, export, a look inside, and drawing with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from dnnlib.errors import ConfigError
from ganfoundry.commands import generate
from tests.support.official_layout import load_D, official_file, persistent
from training.legacy.__main__ import main
from training.run.snapshot import load_generator, load_snapshot

CPU = torch.device('cpu')


def run(*args: str) -> str:
    """Returns the output of `python -m training.legacy`."""
    result = CliRunner().invoke(main, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@torch.no_grad()
def test_conversion_writes_a_snapshot_and_a_report_and_export_the_official_names(tmp_path: Path, golden: Path) -> None:
    source = golden / 'official_layout_cond.pkl'
    printed = run(str(source), f'--out={tmp_path / "out"}')
    report = json.loads((tmp_path / 'out' / 'official_layout_cond.json').read_text())
    assert json.dumps(report, indent=2) in printed
    assert report['networks']['G_ema']['kwargs']['mapping_kwargs'] == {'num_layers': 3}
    assert (report['networks']['G_ema']['tensors'], report['networks']['D']['tensors']) == (60, 46)
    assert (report['training_set_kwargs']['max_size'], report['augment_pipe']['p']) == (100, 1.0)

    before, after = load_snapshot(source), load_snapshot(tmp_path / 'out' / 'official_layout_cond.safetensors')
    assert after.record == before.record
    assert all(torch.equal(after.tensors[name], tensor) for name, tensor in before.tensors.items())

    target = tmp_path / 'exported.safetensors'
    run(str(after.path), f'--export={target}')
    with safe_open(target, framework='pt') as file:
        header = file.metadata()
        assert set(file.keys()) == set(before.tensors)
    kwargs = json.loads(header['G_kwargs'])
    assert kwargs['mapping_kwargs']['num_layers'] == 3
    D_kwargs = json.loads(header['D_kwargs'])
    assert D_kwargs['epilogue_kwargs']['mbstd_group_size'] == 2

    G, D = load_generator(before, CPU, 'fp32'), load_D(before)
    path = official_file(  # the arguments in the header are those that official classes are made with
        tmp_path / 'b.pkl', G_ema=persistent(G, 'Generator', kwargs), D=persistent(D, 'Discriminator', D_kwargs)
    )
    again, first = load_snapshot(path).config()[0], before.config()[0]
    assert (again.generator, again.discriminator) == (first.generator, first.discriminator)


def test_generate_draws_with_an_official_file(tmp_path: Path, golden: Path) -> None:
    flags = [f'--network={golden / "official_layout_cond.pkl"}', '--class=3', '--seeds=0-1', f'--outdir={tmp_path}']
    result = CliRunner().invoke(generate.main, [*flags, '--device=cpu'], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['seed0000.png', 'seed0001.png']


def test_the_command_wants_one_task(golden: Path) -> None:
    with pytest.raises(ConfigError, match='choose one of --out=DIR, --inspect and --export=FILE'):
        main.main([str(golden / 'official_layout_cond.pkl')], standalone_mode=False)
