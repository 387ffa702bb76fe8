"""generate.py: whole files as they are drawn, names that say what they are, and pictures that are drawn again."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry import drawing, pictures
from ganfoundry.commands import generate
from ganfoundry.network import load
from tests.conftest import ROOT
from tests.support.narrow import make_snapshot
from torch_utils.images import save_png
from training.interface import ImageSpec
from training.run.latents import Latents, write_latents

NAMES = ('cat', 'dog', 'Fuchs & Füchsin')
SPEC = ImageSpec(resolution=16, channels=3, label_dim=3, num_images=8)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A conditional network with a W space, and names of its three classes."""
    return make_snapshot(tmp_path_factory.mktemp('networks') / 'net.safetensors', 'squeeze', SPEC, NAMES)


def draw(network, outdir, *flags):
    args = [f'--network={network}', f'--outdir={outdir}', '--device=cpu', *map(str, flags)]
    generate.main.main(args, standalone_mode=False)
    return {path.name: path for path in sorted(outdir.iterdir())}


def module_of(network):
    return load(network, device='cpu').module


def pixels(path):
    with PIL.Image.open(path) as picture:
        return np.asarray(picture)


def test_repeated_and_overlapping_seeds_are_files_of_their_own_seed(tmp_path, network):
    files = draw(network, tmp_path / 'a', '--seeds=1-3,2-5,1', '--class=1', '--batch=2')
    alone = draw(network, tmp_path / 'b', '--seeds=1-5', '--class=dog')
    assert list(files) == list(alone) == [f'seed{seed:04d}.png' for seed in range(1, 6)]
    assert all(np.array_equal(pixels(files[name]), pixels(alone[name])) for name in files)
    with PIL.Image.open(files['seed0002.png']) as picture:
        info = picture.info
    assert (info['seed'], info['class_idx'], info['class_name']) == ('2', '1', 'dog')


def test_a_picture_is_on_the_disk_before_the_next_batch_is_drawn(tmp_path, network, monkeypatch):
    seen = []
    draw_batch = drawing.draw_batch

    def spy(*args, **kwargs):
        seen.append(len(list((tmp_path / 'a').glob('*.png'))))
        return draw_batch(*args, **kwargs)

    monkeypatch.setattr(drawing, 'draw_batch', spy)
    draw(network, tmp_path / 'a', '--seeds=0-5', '--class=0', '--batch=2')
    assert seen == [0, 2, 4]


def test_ctrl_c_leaves_whole_files_and_says_how_many(tmp_path, network, monkeypatch, capsys):
    save = pictures.save_image

    def interrupted(image, path, info):
        if path.name == 'seed0003.png':
            raise KeyboardInterrupt
        save(image, path, info)

    monkeypatch.setattr(pictures, 'save_image', interrupted)
    with pytest.raises(SystemExit) as ended:
        draw(network, tmp_path / 'a', '--seeds=0-9', '--class=0')
    assert ended.value.code == 130
    assert 'a has 3 of 10 images' in capsys.readouterr().err
    found = sorted((tmp_path / 'a').iterdir())
    assert [path.name for path in found] == [f'seed{seed:04d}.png' for seed in range(3)]
    assert all(pixels(path).shape == (16, 16, 3) for path in found)


def test_a_full_disk_is_one_sentence_with_the_number_of_images(tmp_path, network, monkeypatch):
    save = drawing.save_png

    def full(image, path, info):
        if path.name == 'seed0002.png':
            raise OSError(28, 'No space left on device')
        save(image, path, info)

    monkeypatch.setattr(drawing, 'save_png', full)
    with pytest.raises(DataError, match=r'seed0002\.png: cannot be written: No space left on device; .*2 of 4 images'):
        draw(network, tmp_path / 'a', '--seeds=0-3', '--class=0')


def test_all_classes_are_rows_with_their_names(tmp_path, network):
    files = draw(network, tmp_path / 'a', '--class=all', '--seeds=4-6', '--trunc=0.5')
    assert list(files) == ['grid-seeds4-6-classes-trunc0.5.png']
    with PIL.Image.open(files['grid-seeds4-6-classes-trunc0.5.png']) as picture:
        sheet, info = np.asarray(picture), picture.info
    assert json.loads(info['rows']) == list(NAMES)
    for row, name in enumerate(NAMES):
        alone = draw(network, tmp_path / str(row), '--seeds=4-6', f'--class={name}', '--trunc=0.5')
        cells = sheet[16 * row : 16 * (row + 1), -48:].reshape(16, 3, 16, 3).swapaxes(0, 1)
        assert all(np.array_equal(cell, pixels(path)) for cell, path in zip(cells, alone.values(), strict=True))
    assert list(draw(network, tmp_path / 'b', '--class=all', '--grid=2x3')) == ['grid-seeds0-1-classes.png']


def test_a_blend_is_between_its_classes_and_a_vector_is_any_label(tmp_path, network):
    def image(name, text):
        return pixels(draw(network, tmp_path / name, '--seeds=0', f'--class={text}')['seed0000.png'])

    assert np.array_equal(image('a', 'cat:1'), image('b', '0'))
    assert np.array_equal(image('c', '0.3,0.7,0'), image('d', 'cat:0.3+1:0.7'))
    assert not np.array_equal(image('e', 'cat:0.3+dog:0.7'), image('f', 'cat'))


@pytest.mark.parametrize(
    'flags',
    [
        ('--seeds=0-10', '--class=dog'),
        ('--seeds=0-10', '--class=cat:0.3+dog:0.7', '--trunc=0.7', '--batch=3'),
        ('--seeds=0-10', '--class=0.1,-2,3e-7', '--noise-mode=none'),
        ('--seeds=9-10', '--class=2', '--noise-mode=random'),
        ('--latents=W:0,2', '--noise-mode=random'),
        ('--latents=Z', '--trunc=0.5'),
        ('--latents=Z:1,W', '--grid=3x2'),
        ('--seeds=1', '--latents=W', '--class=1', '--grid=2x2'),
        ('--class=all', '--seeds=0-1'),
    ],
)
def test_a_picture_is_drawn_again_from_its_own_text_to_the_byte(tmp_path, network, flags):
    torch.manual_seed(0)
    G = module_of(network)
    write_latents(tmp_path / 'w.npz', Latents(space='w', points=torch.randn(3, G.num_ws, G.w_dim)))
    write_latents(tmp_path / 'z.npz', Latents(space='z', points=torch.randn(2, G.z_dim), c=torch.rand(2, 3)))
    flags = [flag.replace('W', str(tmp_path / 'w.npz')).replace('Z', str(tmp_path / 'z.npz')) for flag in flags]
    files = draw(network, tmp_path / 'a', *flags)
    for name in list(files)[-2:]:
        again = draw(network, tmp_path / 'again', f'--from={files[name]}')[name]
        assert again.read_bytes() == files[name].read_bytes()


def test_statistics_that_were_measured_again_are_measured_again(tmp_path):
    spec = ImageSpec(resolution=16, channels=6, label_dim=0, num_images=8, bits=16)
    network = make_snapshot(tmp_path / 'dcgan.safetensors', 'dcgan', spec)
    files = draw(network, tmp_path / 'a', '--seeds=0-3', '--trunc=0.5', '--recalibrate')
    again = draw(network, tmp_path / 'b', f'--from={files["seed0002.png"]}')
    assert sorted(again) == ['seed0002.npy', 'seed0002.png']
    assert all(again[name].read_bytes() == files[name].read_bytes() for name in again)


@pytest.mark.parametrize('flag', ['--trunc=0', '--rotate=0', '--batch=1', '--recalibrate'])
def test_an_option_that_the_picture_decides_is_refused_zero_included(tmp_path, network, flag):
    with pytest.raises(ConfigError, match=f'{flag.partition("=")[0]}: --from takes this from the picture'):
        draw(network, tmp_path / 'b', '--from=a.png', flag)


def test_another_network_is_refused_with_both_digests(tmp_path, network):
    files = draw(network, tmp_path / 'a', '--seeds=0', '--class=0')
    other = make_snapshot(tmp_path / 'other.safetensors', 'auto', SPEC)
    with pytest.raises(ConfigError, match=r'was drawn by the network with sha256 \w{64}, and .*other.* has \w{64}'):
        draw(other, tmp_path / 'b', f'--from={files["seed0000.png"]}')
    assert not (tmp_path / 'b').exists()


def test_another_picture_is_kept_and_the_same_one_is_written_again(tmp_path, network):
    files = draw(network, tmp_path / 'a', '--seeds=0-3', '--class=0')
    draw(network, tmp_path / 'a', '--seeds=0-5', '--class=0', '--batch=3')
    before = files['seed0002.png'].read_bytes()
    for flags in (('--seeds=2', '--class=1'), ('--seeds=0-9', '--class=0', '--trunc=0.7')):
        with pytest.raises(ConfigError, match=r'\d\.png: exists and is another picture; choose another --outdir'):
            draw(network, tmp_path / 'a', *flags)
    assert files['seed0002.png'].read_bytes() == before
    draw(network, tmp_path / 'a', '--seeds=2', '--class=1', '--overwrite')
    assert files['seed0002.png'].read_bytes() != before
    sheet = draw(network, tmp_path / 'g', '--grid=2x2', '--class=0')
    assert list(sheet) == ['grid-seeds0-3-cat.png']
    draw(network, tmp_path / 'g', '--grid=2x2', '--class=0')
    with pytest.raises(ConfigError, match='is another picture'):
        draw(network, tmp_path / 'g', '--grid=4x1', '--class=0')


def test_a_network_is_a_run_folder_or_the_latest(tmp_path, network, monkeypatch):
    run = tmp_path / 'runs' / '00000-tiny'
    run.mkdir(parents=True)
    (run / 'config.json').write_text('{}')
    shutil.copy(network, run / 'network-snapshot-000001.safetensors')
    monkeypatch.chdir(tmp_path)
    for name, where in (('a', run), ('b', 'latest'), ('c', 'runs/latest')):
        assert list(draw(where, tmp_path / name, '--seeds=0', '--class=0')) == ['seed0000.png']


def test_latents_of_another_network_are_noted_with_both_digests(tmp_path, network, capsys):
    G = module_of(network)
    provenance = {'network_sha256': 'ab' * 32}
    write_latents(
        tmp_path / 'w.npz', Latents(space='w', points=torch.zeros(1, G.num_ws, G.w_dim), provenance=provenance)
    )
    assert list(draw(network, tmp_path / 'a', f'--latents={tmp_path / "w.npz"}')) == ['w-0000.png']
    assert f'made for the network with sha256 {"ab" * 32}, this one has ' in capsys.readouterr().err


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_latents_that_are_not_finite_are_refused(tmp_path, network, value):
    G = module_of(network)
    points = torch.zeros(2, G.num_ws, G.w_dim)
    points[1, 0, 0] = value
    np.savez(tmp_path / 'w.npz', w=points.numpy())
    for option in ('--latents', '--projected-w'):
        with pytest.raises(ConfigError, match=rf'{option}=.*w\.npz: w holds NaN, infinity.* at index 1'):
            draw(network, tmp_path / 'a', f'{option}={tmp_path / "w.npz"}')
    assert not (tmp_path / 'a').exists()


def test_pictures_of_version_0_1_are_drawn_again(tmp_path, network):
    """They hold fewer texts: neither points nor columns nor batches."""
    old = ('network', 'network_sha256', 'nimg', 'truncation_psi', 'class_idx', 'noise_mode', 'precision', 'recalibrate')
    for flags, keys in ((['--seeds=3'], (*old, 'seed')), (['--grid=3x2'], (*old, 'seeds'))):
        (path,) = draw(network, tmp_path / flags[0], *flags, '--class=1', '--trunc=0.7').values()
        with PIL.Image.open(path) as picture:
            text = {**picture.info, 'class_idx': '1'}
            image = np.asarray(picture)
        save_png(image.transpose(2, 0, 1), tmp_path / path.name, {key: text[key] for key in keys})
        again = draw(network, tmp_path / 'again', f'--from={tmp_path / path.name}')[path.name]
        assert np.array_equal(pixels(again), image)


def test_a_noise_seed_gives_all_images_one_noise_and_is_drawn_again(tmp_path):
    peeps = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'  # its noise has a strength

    def drawn(name, *flags):
        return draw(peeps, tmp_path / name, '--noise-mode=random', *flags)

    own = drawn('own', '--seeds=4')['seed0004.png']
    given = drawn('given', '--seeds=4', '--noise-seed=4')['seed0004.png']
    other = drawn('other', '--seeds=4', '--noise-seed=5')['seed0004.png']
    assert np.array_equal(pixels(own), pixels(given))
    assert not np.array_equal(pixels(own), pixels(other))
    again = draw(peeps, tmp_path / 'again', f'--from={other}')['seed0004.png']
    assert again.read_bytes() == other.read_bytes()
    G = module_of(peeps)
    ws = G.mapping(torch.zeros(2, G.z_dim), torch.zeros(2, 0))
    write_latents(tmp_path / 'me.npz', Latents(space='w', points=ws))
    first, second = drawn('w', f'--latents={tmp_path / "me.npz"}', '--noise-seed=1').values()
    assert np.array_equal(pixels(first), pixels(second))
    first, second = drawn('v', f'--latents={tmp_path / "me.npz"}').values()
    assert not np.array_equal(pixels(first), pixels(second))


def test_a_noise_seed_needs_random_noise(tmp_path, network):
    with pytest.raises(ConfigError, match=r'--noise-seed=3: const noise has no seed; add --noise-mode=random'):
        draw(network, tmp_path / 'a', '--seeds=0', '--class=0', '--noise-seed=3')
    assert not (tmp_path / 'a').exists()
