"""R31: every snapshot and sheet has a file of its own, and every record names the weights that were measured."""

import json

import pytest

from tests.support.loops import Scores, loops_in
from torch_utils.checkpoint import load_metadata
from training.loop import Loop
from training.run.open_network import snapshot_of

pytestmark = pytest.mark.slow


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Runs a loop with a snapshot per 16 images."""
    monkeypatch.setattr(Loop, 'end_nimg', Loop.end_nimg)  # restored at the end
    return loops_in(tmp_path)


def nimg_in(path):
    return int(load_metadata(path)['nimg'])


def test_snapshots_and_sheets_below_one_kimg_replace_none(make):
    values = [5.0, 1.0, 7.0, 3.0]
    folder = make(Scores(*values))[0].folder
    snapshots = folder.snapshots()
    moments = [4, *(line['nimg'] for line in folder.results('fd'))]
    assert [nimg_in(path) for path in snapshots] == moments
    assert [folder.snapshot(nimg) for nimg in moments] == snapshots
    assert sorted(folder.path.glob('fakes[0-9]*.png')) == [folder.sheet(nimg) for nimg in moments[1:]]
    assert all(nimg_in(folder.path / line['snapshot']) == line['nimg'] for line in folder.results('fd'))
    best = json.loads(folder.best_record.read_text())
    assert (best['value'], nimg_in(folder.path / best['snapshot'])) == (1.0, best['nimg'])
    assert snapshot_of(folder).name == best['snapshot']


def test_a_best_snapshot_that_an_earlier_version_has_replaced_is_not_taken_for_it(make):
    folder = make(Scores(5.0, 1.0, 7.0, 3.0))[0].folder
    best = json.loads(folder.best_record.read_text())
    folder.best_record.write_text(json.dumps(best | {'snapshot': folder.snapshots()[0].name}))
    assert snapshot_of(folder) == folder.snapshots()[-1]
