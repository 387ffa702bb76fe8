"""Targets: what a path or an address is, and the real images of a snapshot."""

import pytest

from dnnlib.errors import CheckpointError, DataError
from ganfoundry.targets import Target, find_target, find_targets
from tests.support.measured import make_run, tiny_config
from tests.support.runs import make_zip
from training.run.run_folder import RunFolder


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip', num_images=24)


@pytest.fixture(scope='module')
def run(tmp_path_factory, data):
    return make_run(tmp_path_factory.mktemp('runs') / 'run', tiny_config(data), (1000, 2000))


def test_a_run_folder_is_its_snapshots_the_newest_first(run):
    found = find_targets(str(run.path))
    assert [target.path for target in found] == [run.snapshot(2000), run.snapshot(1000)]
    assert {target.folder.path for target in found} == {run.path}


def test_a_run_that_is_compared_is_its_best_snapshot_and_the_newest_without_one(run):
    assert find_target(str(run.path)).path == run.snapshot(2000)
    run.record_best({'results': {'fd': 1.0}, 'nimg': 1000, 'snapshot': run.snapshot(1000).name})
    found = find_target(str(run.path))
    run.best_record.unlink()
    assert (found.path, found.folder.path) == (run.snapshot(1000), run.path)
    assert find_target(str(run.snapshot(2000))).path == run.snapshot(2000)


def test_latest_is_a_run_and_a_folder_of_runs_names_it(tmp_path, run):
    (tmp_path / '00000-tiny').symlink_to(run.path)
    assert [target.path.name for target in find_targets(f'{tmp_path}/latest')] == [
        run.snapshot(2000).name,
        run.snapshot(1000).name,
    ]
    with pytest.raises(DataError, match=r'holds runs; name one of them, or .*/latest'):
        find_targets(str(tmp_path))


def test_an_exported_folder_with_its_record_is_its_network(tmp_path):
    for name in ('config.json', 'model.safetensors'):
        (tmp_path / name).write_text('{}')
    assert find_targets(str(tmp_path)) == [Target(path=tmp_path / 'model.safetensors', is_images=False)]


def test_a_snapshot_knows_its_run_and_a_lonely_one_has_none(tmp_path, run):
    (target,) = find_targets(str(run.snapshot(1000)))
    assert (target.is_images, target.folder.path) == (False, run.path)
    lonely = tmp_path / 'net.safetensors'
    lonely.write_bytes(run.snapshot(1000).read_bytes())
    assert find_targets(str(lonely)) == [Target(path=lonely, is_images=False)]


def test_zips_and_other_folders_hold_images(tmp_path, data, run):
    assert find_targets(str(data)) == [Target(path=data, is_images=True)]
    assert find_targets(str(tmp_path)) == [Target(path=tmp_path, is_images=True)]
    assert find_targets(str(run.path), images=True) == [Target(path=run.path, is_images=True)]


def test_a_run_without_snapshots_is_refused(tmp_path):
    RunFolder(tmp_path)
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(DataError, match=r'no network-snapshot-\*\.safetensors in this run folder yet'):
        find_targets(str(tmp_path))


def test_a_path_where_nothing_is_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='absent: no such file or folder'):
        find_targets(str(tmp_path / 'absent'))
