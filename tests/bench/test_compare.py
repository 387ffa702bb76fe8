"""A comparison trains what is missing, says what became of every run, and hides none that went wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from bench import compare, compare_report
from dnnlib.errors import ConfigError
from tests.conftest import ROOT
from tests.support.forks import environment
from tests.support.runs import last_state, losses, make_zip
from training.interface import ImageSpec
from training.registry import RECIPES, Recipe
from training.run.run_folder import RunFolder

TINY = [
    '--kimg=1', '--batch=48', '--metric=fd_efflite8', '--measurements=3', '--threads=1', '--device=cpu',
    '--set=pl.weight=0', '--set=workers=0', '--set=generator.map_depth=2', '--set=generator.z_dim=16',
    '--set=generator.w_dim=16',
    *(f'--set={net}.channel_{which}' for net in ('generator', 'discriminator') for which in ('base=192', 'max=16')),
]  # fmt: skip
# Two that train, and one that train.py refuses.
ROWS = ['--cfgs=auto,squeeze,bad=cifar', '--set=bad:generator.channel_max=0']

PLAN = compare_report.Plan(rows=(), seeds=(0,), kimg=20, batch=16, metric='fd_efflite2k', jobs=1, threads=1, command=())


def call(out: Path, data: Path, *flags: str) -> None:
    """Runs a comparison in this process."""
    compare.main.main([f'--out={out}', f'--data={data}', *TINY, *flags], standalone_mode=False)


def refusal(*flags: str) -> str:
    with pytest.raises(ConfigError) as error:
        compare.main.main(list(flags), standalone_mode=False)
    return str(error.value)


def table(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / 'table.json').read_text())['rows']


def run_folder(out: Path, row: str) -> Path:
    (folder,) = (out / f'{row}-seed0').glob('0*')
    return folder


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def compared(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out = tmp_path_factory.mktemp('compare')
    call(out, data, *ROWS, '--jobs=2')
    return out


@pytest.mark.slow
def test_every_row_is_in_the_table_with_its_numbers_or_its_reason(compared: Path) -> None:
    auto, squeeze, bad = table(compared)
    assert [auto['label'], squeeze['label'], bad['label']] == ['auto', 'squeeze', 'bad']
    for row in (auto, squeeze):
        (run,) = row['runs']
        assert run['state'] in ('done', 'collapsed')  # 1 kimg teaches little: the samples may well look the same
        assert len(run['curve']) == 3
        assert row['end'] == run['curve'][-1][1] > 0
        assert row['best'] == min(value for _, value in run['curve'])
        assert row['std'] is None
        assert min(row['sec_per_kimg'], row['memory_gb'], row['diversity']) > 0
        assert min(*row['parameters'].values(), *row['macs'].values()) > 0
    assert squeeze['parameters']['G'] != auto['parameters']['G']
    assert bad['runs'][0]['state'] == 'failed'
    assert bad['end'] is bad['parameters'] is bad['sec_per_kimg'] is None
    text = (compared / 'table.md').read_text()
    assert '| bad (cifar) | - |' in text
    assert '- bad, seed 0: failed: channel_max=0: must be at least 1' in text


@pytest.mark.slow
def test_the_sheet_has_a_row_for_the_real_images_and_for_each_cfg(compared: Path) -> None:
    with PIL.Image.open(compared / 'curves.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 3  # two colours of curves on paper, and ink
    with PIL.Image.open(compared / 'sheet.png') as picture:
        side = compare_report.CELL
        assert picture.size == (compare_report.LABEL_WIDTH + compare_report.COLUMNS * side, 4 * side)
        strips = [picture.crop((compare_report.LABEL_WIDTH, i * side, picture.width, (i + 1) * side)) for i in range(4)]
    assert len({strip.tobytes() for strip in strips}) == 4
    assert [strip.getcolors(maxcolors=1) is None for strip in strips] == [True, True, True, False]  # bad drew nothing


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(compared: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [*run_folder(compared, 'auto').rglob('*'), *run_folder(compared, 'squeeze').rglob('*')]
    before, rows = {path: path.stat().st_mtime_ns for path in files}, table(compared)
    call(compared, data, *ROWS, '--jobs=2')
    assert 'squeeze seed 0: ' not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert table(compared) == rows


@pytest.mark.slow
def test_a_run_that_was_killed_continues_to_the_same_bits(
    compared: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    shutil.copytree(compared / 'squeeze-seed0', out / 'squeeze-seed0')
    folder, whole = run_folder(out, 'squeeze'), run_folder(compared, 'squeeze')
    shutil.rmtree(max((folder / 'state').iterdir()))
    record = json.loads((out / 'squeeze-seed0' / 'job.json').read_text())
    (out / 'squeeze-seed0' / 'job.json').write_text(json.dumps({**record, 'state': 'running'}))
    call(out, data, '--cfgs=squeeze')
    assert 'squeeze seed 0: finished' in capsys.readouterr().out
    assert last_state(folder) == last_state(whole)
    assert losses(folder) == losses(whole)
    assert table(out)[0]['end'] == table(compared)[1]['end']


@pytest.mark.slow
def test_a_snapshot_that_cannot_be_read_fails_its_run_alone(compared: Path, tmp_path: Path) -> None:
    folder = tmp_path / '00000-copy'
    shutil.copytree(run_folder(compared, 'squeeze'), folder)
    run = compare_report.Trained(
        compare_report.Row(label='a', cfg='squeeze', flags=()), 0, 'finished', '', RunFolder(folder)
    )
    plan = replace(PLAN, kimg=1, metric='fd_efflite8')
    assert compare_report.read_result(run, plan, 1.0)[0].state in ('done', 'collapsed')
    compare_report.newest_snapshot(RunFolder(folder)).write_bytes(bytes(100))
    result, samples = compare_report.read_result(run, plan, 1.0)
    assert samples is None
    assert result.state == 'failed'
    assert result.reason.startswith('its samples cannot be drawn: ')
    assert result.end == table(compared)[1]['end']


@pytest.mark.slow
def test_a_request_to_stop_reaches_the_runs_and_is_told(data: Path, tmp_path: Path) -> None:
    flags = ['--cfgs=squeeze', '--kimg=1000', '--metric=none', '--set=tick=0.1']
    line = [sys.executable, str(ROOT / 'bench' / 'compare.py'), f'--out={tmp_path}', f'--data={data}', *TINY, *flags]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob('squeeze-seed0/0*/stats.jsonl')) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 143, errors
    assert 'squeeze seed 0: interrupted' in output
    assert table(tmp_path)[0]['runs'][0]['state'] == 'interrupted'
    assert list((run_folder(tmp_path, 'squeeze') / 'state').iterdir())


# ---- what is refused before anything is trained


@pytest.mark.slow
def test_a_folder_with_runs_of_other_flags_is_refused(compared: Path, data: Path) -> None:
    message = refusal(f'--out={compared}', f'--data={data}', *TINY, *ROWS, '--batch=40')
    assert 'auto-seed0 was trained with other flags; name another --out' in message


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--cfgs=auto,squeze'], "unknown --cfg 'squeze': did you mean 'squeeze'?"),
        (['--cfgs=auto,auto'], 'a name stands there twice; tell them apart with LABEL=CFG'),
        (['--cfgs=auto', '--set=squeeze:generator.ratio=4'], '--set squeeze:generator.ratio=4: squeeze is no row'),
        (['--cfgs=paper256', '--small'], 'no reduced widths for paper256; give it its own'),
        (['--cfgs=auto', '--seeds=0-2'], '--seeds=0-2: expected whole numbers and commas'),
        (['--cfgs=auto', '--metric=fd_eflite2k'], 'unknown metric'),
        (['--cfgs=auto', '--flag=auto:mirror=1'], '--flag auto:mirror=1: expected [LABEL:]--NAME=VALUE'),
    ],
)
def test_a_wrong_flag_is_named_with_the_way_out(flags: list[str], message: str, tmp_path: Path) -> None:
    assert message in refusal(f'--out={tmp_path}', *flags)
    assert list(tmp_path.iterdir()) == []


def test_a_set_is_for_one_row_or_for_all() -> None:
    rows = compare.parse_rows(
        'auto,r4=squeeze', ['r4:generator.ratio=4', 'g_opt.lr=0.001'], ['r4:--precision=fp32'], small=True
    )
    assert [(row.label, row.cfg) for row in rows] == [('auto', 'auto'), ('r4', 'squeeze')]
    assert rows[0].flags == (*compare.SMALL['auto'], '--set=g_opt.lr=0.001')
    own = ('--set=generator.ratio=4', '--set=g_opt.lr=0.001', '--precision=fp32')
    assert rows[1].flags == (*compare.SMALL['squeeze'], *own)


def test_schedules_of_a_recipe_are_scaled_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1)
    plain = RECIPES.get('paper256')
    assert compare.budget_flags('paper256', spec, 20) == ('--set=ema.rampup=0.05',)
    assert compare.budget_flags('auto', spec, 20) == ()
    decaying = Recipe(
        name='x', paper='x', make=lambda spec, n: replace(plain.make(spec, n), kimg=9600, lr_decay_kimg=1600.0)
    )
    monkeypatch.setattr(RECIPES, 'get', lambda name: decaying)
    assert compare.budget_flags('x', spec, 60) == ('--set=lr_decay_kimg=10', '--set=ema.rampup=0.05')


# ---- what became of a run


@pytest.mark.parametrize(
    ('exit_code', 'stderr', 'state', 'reason'),
    [
        (
            2,
            'operations: native on cpu\nError: training has diverged: no gradient',
            'diverged',
            'training has diverged',
        ),
        (2, 'Error: ratio=0: must be at least 1\n', 'failed', 'ratio=0: must be at least 1'),
        (1, 'Traceback\n  File\nRuntimeError: mat1 and mat2\n', 'failed', 'RuntimeError: mat1 and mat2'),
        (143, '', 'interrupted', 'asked to stop'),
        (-9, '', 'interrupted', 'killed by signal 9'),
        (0, '', 'finished', ''),
    ],
)
def test_the_end_of_a_run_is_recorded_with_its_reason(
    exit_code: int, stderr: str, state: str, reason: str, tmp_path: Path
) -> None:
    row = compare_report.Row(label='a', cfg='auto', flags=())
    job = compare.Job(row=row, seed=0, flags=('--cfg=auto',), folder=tmp_path)
    assert job.state() == ('new', '')
    job.errors.write_text(stderr)
    assert compare.finish(job, exit_code, PLAN)[0] == state
    assert job.state()[0] == state
    assert job.state()[1].startswith(reason)


def test_a_run_that_could_not_be_measured_at_its_end_is_no_success(tmp_path: Path) -> None:
    folder = tmp_path / '00000-x'
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    row = compare_report.Row(label='a', cfg='auto', flags=())
    job = compare.Job(row=row, seed=0, flags=(), folder=tmp_path)
    job.errors.write_text('')
    for nimg, expected in ((15000, 'failed'), (20000, 'finished')):
        line = {'results': {'fd_efflite2k': 3.0}, 'nimg': nimg}
        (folder / 'metric-fd_efflite2k.jsonl').write_text(json.dumps(line) + '\n')
        assert compare.finish(job, 0, PLAN)[0] == expected


@pytest.mark.parametrize(
    ('values', 'lower', 'samples_to_real', 'expected'),
    [
        ([300, 200, 100, 90, 80, 70], True, 0.9, ''),
        ([300, 200, 100, 90, 80, 70], True, 0.3, 'its samples differ 0.30 times as much as real images'),
        ([90, 100, 100, 90, 100, 104], True, 0.9, ''),  # within the tolerance
        ([90, 100, 100, 90, 100, 140], True, 0.9, 'its metric went from 100 at 8 kimg to 140 at the end'),
        ([1, 3, 4, 5, 5, 6], False, 0.9, ''),
        ([1, 3, 4, 5, 5, 2], False, 0.9, 'its metric went from 3 at 8 kimg to 2 at the end'),
        ([], True, None, ''),
    ],
)
def test_collapse_is_what_its_two_rules_say(
    values: list[float], lower: bool, samples_to_real: float | None, expected: str
) -> None:
    curve = [(4.0 * (i + 1), value) for i, value in enumerate(values)]
    assert compare_report.collapse(curve, lower, samples_to_real).startswith(expected)
    assert bool(compare_report.collapse(curve, lower, samples_to_real)) == bool(expected)


def test_diversity_is_the_mean_distance_of_two_images() -> None:
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    assert compare_report.diversity(images) == 0
    images[2] = 6  # the distances of the three pairs are 0, 6 and 6
    assert compare_report.diversity(images) == pytest.approx(4)


def test_spread_is_over_the_runs_that_reached_their_end() -> None:
    def result(seed: int, state: str, end: float | None) -> compare_report.Result:
        best = None if end is None else end - 1
        return compare_report.Result(seed=seed, state=state, reason='', folder=None, curve=[], end=end, best=best)

    row = compare_report.Row(label='a', cfg='auto', flags=())
    results = [result(0, 'done', 10.0), result(1, 'diverged', None), result(2, 'collapsed', 14.0)]
    summary = compare_report.summarize(row, results, [], 'fd_efflite2k')
    assert (summary['end'], summary['best']) == (12, 11)
    assert summary['std'] == pytest.approx(8**0.5)
    assert [run['state'] for run in summary['runs']] == ['done', 'diverged', 'collapsed']
