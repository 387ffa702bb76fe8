"""R28: a trained run without a state of its own is not begun again over its records."""

import json
import shutil

import pytest

from dnnlib.errors import CheckpointError
from tests.reliability.supervisor import contents, train_here

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(undisturbed, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(undisturbed, tmp_path / undisturbed.name)


@pytest.mark.parametrize('how', ['emptied', 'removed', 'of another run', 'under another name'])
def test_it_is_refused_with_the_name_of_its_states_and_every_record_stays(folder, how):
    states = folder / 'state'
    if how == 'removed':
        shutil.rmtree(states)
    elif how == 'emptied':
        for state in states.iterdir():
            shutil.rmtree(state)
    elif how == 'of another run':
        record = json.loads((folder / 'config.json').read_text())
        (folder / 'config.json').write_text(json.dumps(record | {'run_id': 'f' * 32}))
    else:
        for state in sorted(states.iterdir(), reverse=True):
            state.rename(states / f'{int(state.name) + 1000:09d}')
    before = contents(folder)
    with pytest.raises(CheckpointError, match=f'{states}.*new run without') as caught:
        train_here(f'--resume={folder}')
    assert contents(folder) == before
    assert 'Traceback' not in str(caught.value)


def test_the_way_out_of_its_message_begins_a_new_run_from_its_networks(folder, monkeypatch):
    shutil.rmtree(folder / 'state')
    with pytest.raises(CheckpointError) as caught:
        train_here(f'--resume={folder}')
    advice = next(word for word in str(caught.value).split() if word.startswith('--resume=') and 'snapshot' in word)
    begun = []
    monkeypatch.setattr('ganfoundry.trainer.run_loop', lambda run, *rest: begun.append(run.source) or (True, []))
    config = json.loads((folder / 'config.json').read_text())
    argv = [word for word in config['argv'][1:] if not word.startswith(('--outdir', '--resume', '--plugin'))]
    train_here(f'--outdir={folder.parent / "new"}', *argv, advice)
    assert begun[0].origin['file'] == str(max(folder.glob('network-snapshot-*')))
