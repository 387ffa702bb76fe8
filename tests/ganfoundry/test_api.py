"""The public package: its names alone load, draw, measure and train."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import ganfoundry as gf
from dnnlib.errors import CheckpointError, ConfigError, DataError
from ganfoundry import meter
from ganfoundry.api import train_arguments
from ganfoundry.commands import calc_metrics, generate
from tests.conftest import ROOT
from tests.support.measured import ToyDetector
from tests.support.runs import call, last_state, make_zip, only_run

pytestmark = pytest.mark.slow

TINY = {
    'batch': 40,
    'batch_gpu': 20,
    'mbstd_group': 4,
    'metrics': 'none',
    'workers': 0,
    'tick': 0.08,
    'snap': 2,
    'device': 'cpu',
    'cbase': 192,
    'cmax': 16,
    'map_depth': 2,
    'set': {
        'grid_images': 16,
        'save_every_s': 0,
        'discriminator.channel_base': 192,
        'discriminator.channel_max': 16,
        'generator.z_dim': 16,
        'generator.w_dim': 16,
    },
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def run(tmp_path_factory, data):
    """The folder of a short conditional run, trained by `gf.train`."""
    outdir = tmp_path_factory.mktemp('runs')
    folder = gf.train(cfg='squeeze', data=data, outdir=outdir, cond=True, kimg=1, **TINY)
    assert folder == only_run(outdir)
    return folder


@pytest.fixture(scope='module')
def G(run):
    return gf.load(run, device='cpu')


@pytest.fixture
def detector(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, 'get_detector', lambda name, device: ToyDetector())
    monkeypatch.setattr('metrics.cache.cache_folder', lambda: tmp_path / 'cache')


def python(code, cwd, *paths):
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, [*paths, ROOT]))}
    return subprocess.run([sys.executable, '-c', code], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


# --- the package -------------------------------------------------------------


def test_importing_it_takes_a_tenth_of_a_second_and_loads_no_torch(tmp_path):
    code = (
        'import sys, time; begin = time.process_time(); import ganfoundry; '
        'print(time.process_time() - begin, "torch" in sys.modules, "numpy" in sys.modules)'
    )
    seconds, *loaded = min(python(code, tmp_path).stdout.split() for _ in range(3))
    assert float(seconds) < 0.1
    assert loaded == ['False', 'False']


def test_every_public_name_resolves():
    assert set(gf._MODULES) | {'recipes', '__version__'} == set(gf.__all__) <= set(dir(gf))
    for name, module in gf._MODULES.items():
        assert getattr(gf, name) is getattr(sys.modules[module], name)
    assert gf.recipes.auto
    with pytest.raises(AttributeError, match='nothing_like_it'):
        gf.nothing_like_it  # noqa: B018


def test_another_package_of_the_name_training_is_refused_with_both_paths(tmp_path):
    (tmp_path / 'training').mkdir()
    (tmp_path / 'training' / '__init__.py').touch()
    done = python('import ganfoundry', tmp_path, tmp_path)
    assert done.returncode == 1
    assert f'ImportError: ganfoundry needs its own package `training` in {ROOT / "training"}' in done.stderr
    assert f'finds {tmp_path / "training"} first' in done.stderr


# --- load --------------------------------------------------------------------


def test_a_network_is_loaded_by_any_of_its_names(run, golden, tmp_path, monkeypatch):
    newest = max(run.glob('network-snapshot-*.safetensors'))
    for name in (run, str(run), newest, str(newest), newest.as_uri()):
        assert gf.load(name, device='cpu').path == newest
    copy = shutil.copytree(run, tmp_path / 'copy')
    oldest = min(copy.glob('network-snapshot-*.safetensors'))
    (copy / 'best.json').write_text(json.dumps({'snapshot': oldest.name}))
    assert gf.load(copy, device='cpu').path == oldest
    official = gf.load(golden / 'official_layout_cond.pkl', device='cpu')
    assert official.spec.label_dim > 0
    monkeypatch.setattr('training.run.open_network.fetch', lambda address: newest)
    assert gf.load('https://host/net.safetensors', device='cpu').path == newest


def test_what_is_no_network_is_named(data, run, tmp_path):
    (tmp_path / 'text.safetensors').write_text('text')
    for path in (data, tmp_path, tmp_path / 'absent.pkl', tmp_path / 'text.safetensors', run / 'config.json'):
        with pytest.raises(CheckpointError, match=path.name):
            gf.load(path)
    with pytest.raises(ConfigError, match='precision=half: choose one of auto, fp32, bf16, fp16'):
        gf.load(run, precision='half')
    with pytest.raises(ConfigError, match='--device=tpu: choose cpu'):
        gf.load(run, device='tpu')


# --- drawing -----------------------------------------------------------------


@pytest.mark.parametrize('noise', ['const', 'random'])
def test_images_and_files_are_those_of_generate(tmp_path, run, G, noise):
    snapshot = max(run.glob('network-snapshot-*.safetensors'))
    generate.main.main([f'--network={snapshot}', '--seeds=0-9', '--class=2', '--trunc=0.7', f'--noise-mode={noise}',
                        f'--outdir={tmp_path / "a"}', '--device=cpu'], standalone_mode=False)  # fmt: skip
    names = [f'seed{seed:04d}.png' for seed in range(10)]
    expected = np.stack([np.asarray(PIL.Image.open(tmp_path / 'a' / name)) for name in names])
    images = G.images(seeds=range(10), psi=0.7, class_idx=2, noise_mode=noise)
    assert (images.dtype, images.shape) == (np.uint8, (10, 16, 16, 3))
    assert np.array_equal(images, expected)
    saved = G.save(tmp_path / 'b', range(10), psi=0.7, class_idx=2, noise_mode=noise)
    assert [path.name for path in saved] == names
    assert [path.read_bytes() for path in saved] == [(tmp_path / 'a' / name).read_bytes() for name in names]


def test_latents_forward_and_drawing_agree_with_images(G):
    z, c = G.latents([3, 4]), torch.eye(3)[1:2]
    assert z.shape == (2, G.module.z_dim)
    expected = G.images([3, 4], psi=0.5, class_idx=1)
    assert np.array_equal(G.draw(z, c=c, psi=0.5), expected)
    with torch.no_grad():
        img = G(z, c.expand(2, -1), truncation_psi=0.5, noise_mode='const')  # [N, C, H, W]
        ws = G.module.mapping(z, c.expand(2, -1), truncation_psi=0.5)  # [N, num_ws, w_dim]
    assert np.array_equal((img * 127.5 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(), expected)
    assert np.array_equal(G.draw(ws), expected)
    assert (G.spec.height, G.spec.label_dim, G.module.training) == (16, 3, False)


def test_stored_latents_are_drawn(tmp_path, G):
    np.savez(tmp_path / 'z.npz', z=G.latents([5]).numpy(), c=np.eye(3)[2:])
    assert np.array_equal(G.draw(tmp_path / 'z.npz'), G.images([5], class_idx=2))
    with pytest.raises(DataError, match=r'latents: w is torch.float32 \[1, 1, 16\]'):
        G.draw(torch.zeros(1, 1, 16))


def test_arguments_that_do_not_fit_are_named(G):
    with pytest.raises(ConfigError, match='class_idx is needed: this network is conditional, on classes 0 to 2'):
        G.images([0])
    with pytest.raises(ConfigError, match='class_idx=3: this network knows classes 0 to 2'):
        G.images([0], class_idx=3)
    with pytest.raises(ConfigError, match='c is needed'):
        G(torch.zeros(1, G.module.z_dim))
    with pytest.raises(ConfigError, match='c is needed'):
        G.draw(torch.zeros(1, G.module.z_dim))
    for seeds, message in (([], 'seeds is empty'), ([-1], 'seeds: -1 is not in 0'), ([2**32], 'is not in 0')):
        with pytest.raises(ConfigError, match=message):
            G.images(seeds, class_idx=0)


# --- measuring ---------------------------------------------------------------


def test_a_generator_has_the_numbers_of_calc_metrics(G, detector, capsys):
    calc_metrics.main.main([f'--network={G.path}', '--metrics=fd_efflite32,pr_efflite32_full', '--device=cpu',
                            '--precision=fp32', '--no-plot', '--verbose=0'], standalone_mode=False)  # fmt: skip
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = gf.measure(G, ['fd_efflite32', 'pr_efflite32_full'])
    assert all(isinstance(estimate, gf.Estimate) for estimate in found.values())
    assert {name: estimate.value for name, estimate in found.items()} == {**lines[0]['results'], **lines[1]['results']}


def test_batches_are_measured_whether_they_can_be_read_again_or_not(data, G, detector):
    images = np.random.default_rng(0).integers(0, 256, [40, 16, 16, 3], np.uint8)
    names = ['fd_efflite16', 'is_efflite32']
    batches = [images[:10], torch.from_numpy(images[10:30]), images[30:]]
    expected = gf.measure(batches, names, data=data)
    assert expected.keys() == {'fd_efflite16', 'is_efflite32_mean', 'is_efflite32_std'}
    assert gf.measure(iter(batches), names, data=str(data)) == expected
    assert gf.measure(batches, names, data=G) == expected  # the same images, without x-flips and subset
    with_errors = gf.measure(batches, 'fd_efflite16', data=data, bootstrap=5)['fd_efflite16']
    assert with_errors.value == expected['fd_efflite16'].value
    assert with_errors.std > 0


@pytest.mark.parametrize(
    ('shape', 'metrics', 'options', 'message'),
    [
        (
            [40, 3, 16, 16],
            'fd_efflite16',
            {},
            r'a batch is uint8 \[40, 3, 16, 16\]; metrics take uint8 \[N, 16, 16, 3\]',
        ),
        ([10, 16, 16, 3], 'fd_efflite16', {}, 'fd_efflite16 needs 16 images, there are 10'),
        ([40, 16, 16, 3], 'fd_eflite16', {}, 'unknown metric'),
        ([40, 16, 16, 3], [], {}, 'metrics is empty'),
        ([40, 16, 16, 3], 'fd_efflite16', {'data': None}, 'data is needed'),
        ([40, 16, 16, 3], 'fd_efflite16', {'num_seeds': 2}, 'num_seeds'),
        ([40, 16, 16, 3], 'ppl_zfull16', {}, 'ppl_zfull16'),
    ],
)
def test_images_that_cannot_be_measured_are_refused(data, detector, shape, metrics, options, message):
    with pytest.raises((ConfigError, DataError), match=message):
        gf.measure([np.zeros(shape, np.uint8)], metrics, **{'data': data, **options})


# --- training ----------------------------------------------------------------


def test_keywords_are_the_flags_of_train():
    flags = {'cfg': 'squeeze', 'data': Path('a.zip'), 'mirror': True, 'gamma': 0.5, 'seed': None, 'metrics': ['a', 'b'],
             'plugin': 'p.py', 'set': {'r1.interval': 8, 'x': True}, 'time_limit': '2h', 'batch_gpu': 4}  # fmt: skip
    assert train_arguments(flags) == [
        '--cfg=squeeze', '--data=a.zip', '--mirror=1', '--gamma=0.5', '--metrics=a,b', '--plugin=p.py',
        '--set=r1.interval=8', '--set=x=True', '--for=2h', '--batch-gpu=4',
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"train\(\) has no flag 'gama': did you mean 'gamma'\?"):
        train_arguments({'gama': 1})


def test_a_run_is_the_one_of_the_command_line_and_continues(tmp_path, run, data):
    assert last_state(run)[1]['nimg'] == 1000
    flags = [f'--{name.replace("_", "-")}={value}' for name, value in TINY.items() if name != 'set']
    flags += [f'--set={name}={value}' for name, value in TINY['set'].items()]
    call(tmp_path / 'a', f'--data={data}', '--cfg=squeeze', '--cond=1', '--kimg=1', *flags)
    assert last_state(only_run(tmp_path / 'a')) == last_state(run)
    copy = shutil.copytree(run, tmp_path / '00000-copy')
    assert gf.train(resume=copy, kimg=2, snap=1000) == copy
    assert last_state(copy)[1]['nimg'] == 2000


def test_several_processes_are_started_and_their_folder_is_returned(tmp_path, data):
    outdir = tmp_path / 'runs'
    folder = gf.train(cfg='squeeze', data=data, outdir=outdir, kimg=1, gpus=2, deterministic=True, **TINY)
    assert folder == only_run(outdir)
    assert json.loads((folder / 'config.json').read_text())['config']['gpus'] == 2
    assert last_state(folder)[1]['nimg'] == 1000


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ({'cfg': 'squeze'}, "unknown --cfg 'squeze'"),
        ({'aug': 'adda'}, "'adda' is not one of"),
        ({'kimg': 'many'}, "'many' is not a valid integer"),
        ({'dry_run': True}, 'for a plan or a list use'),
        ({'cfg': 'list'}, 'for a plan or a list use'),
    ],
)
def test_flags_that_are_wrong_are_named(tmp_path, data, flags, message):
    with pytest.raises(ConfigError, match=message):
        gf.train(data=data, outdir=tmp_path / 'runs', **flags)
    assert not (tmp_path / 'runs').exists()
