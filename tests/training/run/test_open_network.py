"""Finding a network: a file, an address, the best or the newest snapshot of a run."""

import json

import pytest

from dnnlib.errors import CheckpointError
from training.run.open_network import find_network, open_network, with_latest


@pytest.fixture
def run(tmp_path):
    """A folder with the names of three snapshots, which hold nothing."""
    folder = tmp_path / '00000-run'
    folder.mkdir()
    (folder / 'config.json').write_text('{}')
    for kimg in (0, 20, 100):
        (folder / f'network-snapshot-{kimg:06d}.safetensors').touch()
    return folder


def best(folder, name):
    (folder / 'best.json').write_text(json.dumps({'metric': 'fid', 'snapshot': name}))


def test_a_run_gives_its_best_snapshot_and_the_newest_without_one(run):
    newest = run / 'network-snapshot-000100.safetensors'
    assert find_network(run) == newest
    best(run, 'network-snapshot-000020.safetensors')
    assert find_network(str(run)) == run / 'network-snapshot-000020.safetensors'
    best(run, 'network-snapshot-000040.safetensors')  # deleted since
    assert find_network(run) == newest
    (run / 'best.json').write_text('{')
    assert find_network(run) == newest


def test_an_exported_folder_gives_its_network_unless_it_has_snapshots(tmp_path, run):
    exported = tmp_path / 'exported'
    exported.mkdir()
    (exported / 'model.safetensors').touch()
    assert find_network(exported) == exported / 'model.safetensors'
    (run / 'model.safetensors').touch()
    assert find_network(run) == run / 'network-snapshot-000100.safetensors'


def test_a_file_is_itself(run):
    path = run / 'network-snapshot-000020.safetensors'
    assert find_network(path) == find_network(str(path)) == path


def test_what_is_no_network_is_named(tmp_path, run):
    for path in (tmp_path / 'absent', tmp_path, run):
        with pytest.raises(CheckpointError, match=path.name):
            open_network(path)


def test_a_path_where_nothing_is_gets_the_kinds_of_networks(tmp_path):
    with pytest.raises(CheckpointError, match=r'absent: no such file or folder; a network is a run folder, a snapshot'):
        find_network(tmp_path / 'absent')


def test_latest_is_the_newest_run_of_runs_or_of_the_folder_before_it(tmp_path, run, monkeypatch):
    newer = tmp_path / '00001-run'
    newer.mkdir()
    (newer / 'config.json').write_text('{}')
    (newer / 'network-snapshot-000040.safetensors').touch()
    assert find_network(f'{tmp_path}/latest') == newer / 'network-snapshot-000040.safetensors'
    (tmp_path / 'runs').mkdir()
    newer.rename(tmp_path / 'runs' / newer.name)
    monkeypatch.chdir(tmp_path)
    assert str(find_network('latest')) == 'runs/00001-run/network-snapshot-000040.safetensors'
    assert with_latest('https://server/latest') == 'https://server/latest'
    (tmp_path / 'latest').mkdir()
    assert with_latest('latest') == 'latest'  # a folder of this name is itself


def test_latest_without_a_run_and_a_folder_of_runs_name_the_way_out(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r'latest: there is no run in runs/; name a run folder, or OUTDIR/latest'):
        find_network('latest')
    with pytest.raises(CheckpointError, match=r'it holds runs; name one, or .*/latest'):
        find_network(tmp_path)
    assert find_network(f'{tmp_path}/latest').parent == run
