"""The snapshots of a run: found by name among the files of its folder, and by nothing else."""

import shutil

import pytest

from dnnlib.errors import CheckpointError, ConfigError
from ganfoundry.explore.networks import NUM_MODELS, Loading, Side
from ganfoundry.explore.view import View

CPU = Loading(device='cpu')


@pytest.fixture
def run(narrow, tmp_path):
    """A folder with five snapshots: one network, in files of different digests."""
    folder = tmp_path / '00000-run'
    folder.mkdir()
    for kimg in range(0, 500, 100):
        shutil.copy(narrow('auto'), folder / f'network-snapshot-{kimg:06d}.safetensors')
    return folder


def test_a_run_has_its_snapshots_and_begins_with_the_one_that_every_command_takes(run):
    side = Side(str(run), CPU)
    assert side.snapshots() == [f'network-snapshot-{kimg:06d}' for kimg in range(0, 500, 100)]
    assert side.first.network.path.stem == 'network-snapshot-000400'
    assert side.model('network-snapshot-000100').network.path == run / 'network-snapshot-000100.safetensors'
    assert side.model('') is side.model('network-snapshot-000400') is side.first
    shutil.copy(run / 'network-snapshot-000400.safetensors', run / 'network-snapshot-000500.safetensors')
    assert side.snapshots()[-1] == 'network-snapshot-000500'


def test_few_snapshots_stay_in_memory(run):
    side = Side(str(run), CPU)
    models = [side.model(name) for name in side.snapshots()[:4]]
    assert side.model('network-snapshot-000300') is models[3]
    assert side.model('network-snapshot-000000') is not models[0]
    assert len(side._models) == NUM_MODELS


def test_a_name_is_no_path(run, narrow):
    side = Side(str(run), CPU)
    other = run.parent / 'network-snapshot-000900.safetensors'
    shutil.copy(narrow('auto'), other)
    for name in (f'../{other.stem}', str(other), '../../etc/passwd', 'network-snapshot-*', '.', 'config', '\0'):
        with pytest.raises(ConfigError, match='has no snapshot of this name'):
            side.model(name)
    file = Side(str(other), CPU)
    assert file.snapshots() == []
    with pytest.raises(ConfigError, match='has no snapshot of this name'):
        file.model('network-snapshot-000100')


def test_a_damaged_snapshot_is_named(run):
    (run / 'network-snapshot-000100.safetensors').write_bytes(b'no network')
    with pytest.raises(CheckpointError, match='network-snapshot-000100'):
        Side(str(run), CPU).model('network-snapshot-000100')


def test_the_latent_holds_over_the_snapshots(run, studio):
    opened = studio(run)
    pictures = {
        name: opened.picture(0, View(seed=4, snapshot=name), draft=False).data for name in opened.snapshots()[0]
    }
    assert len(pictures) == 5
    assert f'--network={run}/network-snapshot-000200.safetensors' in opened.command(
        0, View(seed=4, snapshot='network-snapshot-000200')
    )
