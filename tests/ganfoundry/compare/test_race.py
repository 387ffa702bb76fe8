"""A comparison trains what is missing, decides the same after any interruption, and hides no run that went wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

from ganfoundry.commands import train
from ganfoundry.compare.plan import Plan, config_of, run_flags, rung, snapshot_moments
from ganfoundry.compare.rows import parse_rows
from tests.conftest import ROOT
from tests.support.forks import environment
from tests.support.patience import stretched
from tests.support.races import ROWS, TINY, Killed, in_process, race, result, run_folder, table
from tests.support.runs import last_state, losses
from training.interface import ImageSpec

pytestmark = pytest.mark.slow

PAIR = ('--cfgs=auto,squeeze', '--seeds=0')


@pytest.fixture(scope='module')
def halved(tmp_path_factory, data):
    """The folder of the same comparison with strict halving."""
    out = tmp_path_factory.mktemp('halved')
    with pytest.MonkeyPatch.context() as patch:
        in_process(patch)
        race(out, data, *PAIR, '--halving=strict')
    return out


def test_every_row_is_in_the_table_with_its_numbers_or_its_reason(compared):
    auto, squeeze, bad = table(compared)['rows']
    assert [row['label'] for row in (auto, squeeze, bad)] == ['auto', 'squeeze', 'bad']
    for row in (auto, squeeze):
        for run in row['runs']:
            assert run['state'] in ('done', 'collapsed')  # 1 kimg teaches little: the samples may look the same
            assert {metric: len(curve) for metric, curve in run['curves'].items()} == {
                'fd_efflite8': 4, 'kid_efflite8': 4,
            }  # fmt: skip
            assert run['best'] == min(value for _, value in run['curves']['fd_efflite8'])
        values = [run['ends']['fd_efflite8'] for run in row['runs']]
        assert row['ends']['fd_efflite8']['mean'] == pytest.approx(sum(values) / 2)
        assert row['ends']['fd_efflite8']['std'] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert min(row['seconds'], row['sec_per_kimg'], row['memory_gb'], row['diversity']) > 0
        assert min(*row['parameters'].values(), *row['macs'].values()) > 0
    assert squeeze['parameters']['G'] != auto['parameters']['G']
    assert [run['state'] for run in bad['runs']] == ['failed', 'failed']
    text = (compared / 'report.md').read_text()
    assert '| bad (cifar) | - |' in text
    assert '- bad, seed 0: failed: channel_max=0: must be at least 1' in text


def test_all_files_of_the_report_are_written(compared):
    with PIL.Image.open(compared / 'curves.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 3  # two colors of curves on paper, and ink
    with PIL.Image.open(compared / 'sheet.png') as picture:
        strips = [picture.crop((200, i * 64, picture.width, (i + 1) * 64)) for i in range(4)]
    assert [strip.getcolors(maxcolors=1) is None for strip in strips] == [True, True, True, False]  # bad drew nothing
    page = (compared / 'report.html').read_text()
    assert all(text in page for text in ('kid_efflite8', 'bad, seed 1: failed', 'data:image/webp;base64'))
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []


def test_the_same_command_again_trains_nothing(compared, data, monkeypatch):
    launched = in_process(monkeypatch)
    before, files = result(compared), {path: path.stat().st_mtime_ns for path in compared.glob('[as]*/**/*')}
    race(compared, data, *ROWS, '--seeds=0,1')
    assert [flags[1] for flags in launched] == ['--cfg=cifar', '--cfg=cifar']  # a failed run is tried again
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert result(compared) == before


def test_halving_keeps_the_bits_of_the_rows_that_stay(compared, halved):
    record = table(halved)
    quarter, half = record['halving']
    (left,) = quarter['dropped']
    (stayed,) = {'auto', 'squeeze'} - {left}
    assert half['dropped'] == {}
    assert (quarter['saved_kimg'], quarter['planned_kimg']) == (pytest.approx(0.725), 2)
    alone, raced = run_folder(compared, stayed), run_folder(halved, stayed)
    assert last_state(raced) == last_state(alone)
    assert losses(raced) == losses(alone)
    assert last_state(run_folder(halved, left))[1]['nimg'] == 275
    rows, whole = ({row['label']: row for row in result(out)['rows']} for out in (halved, compared))
    assert rows[stayed]['runs'] == whole[stayed]['runs'][:1]
    assert [run['state'] for run in rows[left]['runs']] == ['dropped']
    assert f'{left} leaves: place 2 of 2 by fd_efflite8, in the lower half' in (halved / 'report.md').read_text()


def test_killed_at_every_launch_the_table_is_the_same(halved, data, tmp_path, monkeypatch):
    done = []

    def kill(words):
        """Ends the comparison at every second launch, before or after a part of the run."""
        done.append(words)
        if len(done) % 4 == 3:
            train.main.main([*words, '--pause=0.2'], standalone_mode=False)
        if len(done) % 2:
            raise Killed

    in_process(monkeypatch, kill)
    for _ in range(20):
        try:
            race(tmp_path, data, *PAIR, '--halving=strict')
            break
        except Killed:
            continue
    assert len(done) > 5
    assert result(tmp_path) == result(halved)


def test_after_a_real_kill_the_same_command_gives_the_same_table(compared, data, tmp_path):
    line = [sys.executable, str(ROOT / 'compare.py'), f'--out={tmp_path}', f'--data={data}', *TINY, '--cfgs=auto']
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + stretched(100)
    while not list(tmp_path.glob('auto-seed0/0*/stats.jsonl')) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)  # its run goes on without it
    process.communicate()
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), check=True)
    assert 'auto seed 0: finished' in done.stdout
    assert len(list(tmp_path.glob('auto-seed0/0*'))) == 1
    (run,) = result(tmp_path)['rows'][0]['runs']
    assert run == result(compared)['rows'][0]['runs'][0]


def test_a_request_to_stop_reaches_the_runs_and_is_reported(data, tmp_path):
    flags = ['--cfgs=squeeze', '--kimg=1000', '--metric=none', '--set=tick=0.1']
    line = [sys.executable, str(ROOT / 'compare.py'), f'--out={tmp_path}', f'--data={data}', *TINY, *flags]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + stretched(100)
    while not list(tmp_path.glob('squeeze-seed0/0*/stats.jsonl')) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=stretched(100))
    assert process.returncode == 143, errors
    assert 'squeeze seed 0: interrupted' in output
    assert table(tmp_path)['rows'][0]['runs'][0]['state'] == 'interrupted'
    assert list((run_folder(tmp_path, 'squeeze') / 'state').iterdir())


def test_a_folder_with_runs_of_other_flags_is_refused(compared, data):
    with pytest.raises(Exception, match='auto-seed0 was trained with other flags; name another --out'):
        race(compared, data, *ROWS, '--seeds=0,1', '--batch=50')


def test_a_damaged_snapshot_fails_its_run_alone(compared, data, tmp_path, monkeypatch):
    launched = in_process(monkeypatch)
    out = Path(shutil.copytree(compared, tmp_path / 'copy'))
    max(run_folder(out, 'squeeze').glob('*.safetensors')).write_bytes(bytes(100))
    race(out, data, *PAIR)
    assert launched == []
    (broken,) = table(out)['rows'][1]['runs']
    assert broken['state'] == 'failed'
    assert broken['reason'].startswith('its samples cannot be drawn: ')


def test_predicted_moments_are_those_of_the_measurements(compared, data):
    rows = parse_rows(
        'auto', [item.removeprefix('--set=') for item in TINY if item.startswith('--set=')], [], small=False
    )
    plan = Plan(rows=rows, seeds=(0,), kimg=1, batch=25, metrics=('fd_efflite8',), measurements=4,
                shared=(f'--data={data}', '--cond=1', '--device=cpu'))  # fmt: skip
    dataset_spec = ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1)
    cfg, _ = config_of(run_flags(plan, rows[0], 0, dataset_spec, 1))
    (curve,) = {
        tuple(run['curves']['fd_efflite8'][k][0] for k in range(4)) for run in table(compared)['rows'][0]['runs']
    }
    assert tuple(nimg / 1000 for nimg in snapshot_moments(cfg)) == curve == (0.275, 0.525, 0.775, 1.0)
    assert (rung(cfg, 0.25), rung(cfg, 0.5)) == (275, 525)
