"""The command line of projector.py: its files, the commands that read them, an interrupt, and refusals."""

import json

import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest
import torch

import ganfoundry as gf
from dnnlib.errors import UserError
from ganfoundry.commands import generate, projector
from ganfoundry.projection import api, run, starts, tuning
from ganfoundry.projection.perceptual import PixelDistance
from tests.ganfoundry.projection.conftest import NETWORK
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec
from training.run.latents import read_latents
from training.run.snapshot import load_snapshot


@pytest.fixture(autouse=True)
def quick_distance(monkeypatch):
    """A distance without a network, few samples, and few witnesses."""
    for module in (run, api):
        monkeypatch.setattr(
            module, 'choose_perceptual', lambda device: (PixelDistance(), 'perceptual distance: pixels')
        )
    monkeypatch.setattr(starts, 'NUM_CANDIDATES', 16)
    monkeypatch.setattr(tuning, 'NUM_WITNESSES', 2)


@pytest.fixture
def target(tmp_path):
    """An image that no network has drawn."""
    path = tmp_path / 'me.png'
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, [40, 50, 3], np.uint8)).save(path)
    return path


def project(*args, network=NETWORK):
    projector.main.main([f'--network={network}', '--device=cpu', *map(str, args)], standalone_mode=False)


def test_the_files_are_those_of_stylegan2_ada_and_can_be_drawn_again(tmp_path, target, peeps, capsys):
    out = tmp_path / 'out'
    project(f'--target={target}', '--num-steps=6', '--save-video=1', f'--outdir={out}')
    names = ['proj.mp4', 'proj.png', 'projected_w.npz', 'projection.json', 'target.png']
    assert sorted(path.name for path in out.iterdir()) == names
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'perceptual distance: pixels'
    assert lines[1].startswith(f'{out}: pixels ')
    assert iio.imread(out / 'proj.mp4', plugin='pyav').shape == (7, 32, 64, 3)
    record = json.loads((out / 'projection.json').read_text())
    assert record['perceptual'] == {'network': 'pixels', 'sha256': ''}
    assert {'pixels', 'psnr', 'std_from_mean', 'seconds', 'network_sha256', 'origin'} <= record.keys()
    assert (record['steps'], record['interrupted'], len(record['curve']['mse'])) == (6, False, 7)
    latents = read_latents(out / 'projected_w.npz', peeps.module)
    assert latents.provenance['network_sha256'] == peeps.sha256
    common = [f'--network={NETWORK}', '--device=cpu', f'--outdir={tmp_path / "again"}']
    generate.main.main([*common, f'--projected-w={out / "projected_w.npz"}'], standalone_mode=False)
    generate.main.main([*common, f'--from={out / "proj.png"}'], standalone_mode=False)
    expected = np.asarray(PIL.Image.open(out / 'proj.png'))
    for path in (tmp_path / 'again').iterdir():
        assert np.array_equal(np.asarray(PIL.Image.open(path)), expected)
    with pytest.warns(UserWarning, match='perceptual distance: pixels'):
        found = gf.project(peeps, target, num_steps=6)
    assert torch.equal(found.latents, latents.points)
    assert np.array_equal(found.image, expected)


def test_the_same_command_gives_the_same_bits_and_another_one_is_refused(tmp_path, target):
    files = {}
    for name in 'ab':
        project(f'--target={target}', '--num-steps=4', f'--outdir={tmp_path / name}')
        files[name] = [(tmp_path / name / file).read_bytes() for file in ('proj.png', 'projected_w.npz', 'target.png')]
    assert files['a'] == files['b']
    project(f'--target={target}', '--num-steps=4', f'--outdir={tmp_path / "a"}')
    with pytest.raises(UserError, match=r'projection\.json: is of another projection; choose another --outdir'):
        project(f'--target={target}', '--num-steps=5', f'--outdir={tmp_path / "a"}')
    project(f'--target={target}', '--num-steps=5', f'--outdir={tmp_path / "a"}', '--overwrite')


def test_a_tuned_network_is_a_snapshot_that_names_its_base(tmp_path, target, peeps):
    out = tmp_path / 'out'
    project(f'--target={target}', '--num-steps=3', '--space=pti', '--tune-steps=10', '--max-drift=1', f'--outdir={out}')
    record = load_snapshot(out / 'tuned.safetensors').record
    assert record['tuned']['base_sha256'] == peeps.sha256
    tuned = gf.load(out / 'tuned.safetensors', device='cpu')
    image = tuned.draw(out / 'projected_w.npz')[0]
    assert np.array_equal(image, np.asarray(PIL.Image.open(out / 'proj.png')))
    assert not np.array_equal(image, peeps.draw(out / 'projected_w.npz')[0])
    numbers = json.loads((out / 'projection.json').read_text())
    assert numbers['drift'] > 0
    assert numbers['network_sha256'] == tuned.sha256
    assert read_latents(out / 'projected_w.npz', tuned.module).provenance['network_sha256'] == tuned.sha256


def test_several_targets_have_a_folder_each(tmp_path, target):
    (tmp_path / 'more').mkdir()
    PIL.Image.new('L', (16, 16), 99).save(tmp_path / 'more' / 'me.png')
    project(f'--target={target}', f'--target={tmp_path / "more"}', '--num-steps=2', f'--outdir={tmp_path / "out"}')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['me', 'me-2']


def test_an_interrupt_writes_the_result_so_far(tmp_path, target, monkeypatch):
    class Stopped(run.StopSignal):
        """A signal that arrives after three steps."""

        steps = 0
        exit_code = 130

        def requested(self):
            Stopped.steps += 1
            return Stopped.steps > 3

    monkeypatch.setattr(run, 'StopSignal', Stopped)
    with pytest.raises(SystemExit) as ended:
        project(f'--target={target}', '--num-steps=50', '--save-video=1', f'--outdir={tmp_path / "out"}')
    assert ended.value.code == 130
    record = json.loads((tmp_path / 'out' / 'projection.json').read_text())
    assert record['interrupted']
    assert record['steps'] < 5
    assert len(iio.imread(tmp_path / 'out' / 'proj.mp4', plugin='pyav')) == record['steps'] + 1


SPECIAL = {
    'igan': (ImageSpec(resolution=32, channels=3, label_dim=0, num_images=1), 'z', []),
    'squeeze': (ImageSpec(resolution=16, channels=1, label_dim=3, num_images=1, bits=16), 'w', ['--class=auto']),
    'auto': (ImageSpec(resolution=16, channels=4, label_dim=0, num_images=1, base=(4, 6)), 'w', ['--space=w+']),
    'stylegan2': (ImageSpec(resolution=16, channels=6, label_dim=3, num_images=1), 'z', ['--space=z', '--class=1']),
    'cifar': (ImageSpec(resolution=16, channels=3, label_dim=0, num_images=1), 'w', ['--method=stylegan2']),
}


@pytest.fixture(scope='module')
def igan(tmp_path_factory):
    """A snapshot of a network without W."""
    return make_snapshot(tmp_path_factory.mktemp('igan') / 'net.safetensors', 'igan', SPECIAL['igan'][0])


@pytest.mark.parametrize('cfg', SPECIAL)
def test_special_networks_have_their_latents_found(tmp_path, target, cfg):
    spec, space, flags = SPECIAL[cfg]
    snapshot, out = make_snapshot(tmp_path / 'net.safetensors', cfg, spec), tmp_path / 'out'
    if spec.channels > 4:
        target = tmp_path / 'planes.npy'
        np.save(target, np.random.default_rng(0).integers(0, 256, [16, 16, spec.channels], np.uint8))
    project(f'--target={target}', '--num-steps=2', '--save-video=1', f'--outdir={out}', *flags, network=snapshot)
    found = {path.name for path in out.iterdir()}
    assert {f'projected_{space}.npz', 'proj.png', 'target.png', 'projection.json', 'proj.mp4'} <= found
    assert ('tuned.safetensors' in found) == ('--method=stylegan2' in flags)
    network = gf.load(out / 'tuned.safetensors' if '--method=stylegan2' in flags else snapshot, device='cpu')
    image = network.draw(out / f'projected_{space}.npz')[0]
    stored = np.load(out / 'proj.npy') if spec.channels > 4 else np.asarray(PIL.Image.open(out / 'proj.png'))
    assert np.array_equal(image, stored.reshape(image.shape))
    assert image.dtype == (np.uint16 if spec.bits == 16 else np.uint8)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--target=nowhere.png'], '--target=nowhere.png: no such file or folder'),
        (['--space=w+'], 'has no W space; use --space=z'),
        (['--space=pti'], 'has no W space; use --space=z'),
        (['--method=stylegan2'], 'has no W space; drop the option'),
        (['--class=1'], 'this network is unconditional'),
        (['--class=auto'], 'this network is unconditional'),
        (['--init=nowhere.npz'], '--init=nowhere.npz'),
        (['--mse=nan'], '--mse=nan: must be a number of at least 0'),
        (['--device=tpu'], '--device=tpu'),
        (['--detector-path=vgg'], 'expected NAME=FILE'),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(tmp_path, target, igan, flags, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError) as error:
        project(*([] if '--target' in flags[0] else [f'--target={target}']), f'--outdir={tmp_path / "out"}', *flags,
                network=igan)  # fmt: skip
    assert message in str(error.value)
    assert '\n' not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_refusal_of_the_start_leaves_nothing_behind(tmp_path, target):
    with pytest.raises(UserError, match='--init=mean: the mean of z is 0'):
        project(f'--target={target}', '--space=z', '--init=mean', f'--outdir={tmp_path / "out"}')
    assert not (tmp_path / 'out').exists()


def test_a_damaged_target_is_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no picture')
    with pytest.raises(UserError, match=r'a\.png: is not a .* image'):
        project(f'--target={tmp_path / "a.png"}', f'--outdir={tmp_path / "out"}')
    assert not (tmp_path / 'out').exists()
