"""A run that pauses at a number of images ends in the same bits as one that does not."""

import json

import pytest
from safetensors.torch import load_file

from tests.support.runs import TINY, call, last_state, losses, make_zip, only_run

# Everything in a recipe that depends on the length or on the images so far. Ticks end at 0.1, 0.3, 0.5, 0.7, 0.9 and
# 1 kimg; the snapshots are those at 0.1, 0.5, 0.9 and 1.
FLAGS = (*TINY, '--kimg=1', '--batch=100', '--batch-gpu=50', '--mbstd-group=5', '--tick=0.2', '--cfg=auto',
         '--set=lr_decay_kimg=0.6', '--set=ema.rampup=0.05', '--aug=ada', '--set=aug.kimg=0.5')  # fmt: skip
PAUSES = {'within a tick': 0.35, 'at a snapshot': 0.5, 'at the same snapshot again': 0.5}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


def contents(folder):
    """Returns the tensors of all snapshots, and the bytes of all sheets, by name."""
    snapshots = {path.name: load_file(path) for path in folder.glob('*.safetensors')}
    tensors = {f'{name} {key}': value.tolist() for name, file in snapshots.items() for key, value in file.items()}
    return tensors | {path.name: path.read_bytes() for path in folder.glob('*.png')}


@pytest.mark.slow
def test_weights_ticks_and_snapshots_are_those_of_an_unpaused_run(tmp_path, data):
    flags = (f'--data={data}', *FLAGS)
    call(tmp_path / 'whole', *flags)
    whole = only_run(tmp_path / 'whole')
    resume = ()
    for pause in PAUSES.values():
        done = call(tmp_path / 'paused', *(resume or flags), f'--pause={pause}')
        folder = only_run(tmp_path / 'paused')
        resume = (f'--resume={folder}', '--device=cpu')
        reached = last_state(folder)[1]['nimg']
        assert 1000 * pause <= reached < 1000 * pause + 100
        assert f'paused at {reached / 1000:.2f} kimg' in done.stdout
        assert f'continue: python train.py --resume={folder}' in done.stdout
    call(tmp_path / 'paused', *resume)
    assert last_state(folder) == last_state(whole)
    assert losses(folder) == losses(whole)
    assert contents(folder) == contents(whole)
    records = [json.loads((path / 'config.json').read_text()) for path in (folder, whole)]
    assert records[0]['config'] == records[1]['config']


@pytest.mark.slow
def test_a_pause_beyond_the_end_changes_nothing_and_a_wrong_one_is_refused(tmp_path, data):
    done = call(tmp_path / 'runs', f'--data={data}', *FLAGS, '--pause=1.5')
    assert 'done: ' in done.stdout
    for wrong in ('0', '-1', 'nan', 'inf'):
        refused = call(tmp_path / 'none', f'--data={data}', '--cfg=squeeze', f'--pause={wrong}', check=False)
        assert refused.returncode == 2
        assert f'--pause={wrong}: expected a number of kimg above 0' in refused.stderr
        assert not (tmp_path / 'none').exists()
