"""Every command that draws, with every `--cfg` and every kind of image: it works, or refuses in the documented words.

A new command is a row of COMMANDS.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import imageio.v3 as iio
import numpy as np
import PIL.Image
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.commands import export, gen_video, generate, inspect_network, projector, style_mixing
from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.studio import Studio, StudioOptions
from ganfoundry.explore.view import View
from ganfoundry.export.options import OnnxSettings
from ganfoundry.export.parts import example_inputs
from ganfoundry.export.web_page import content_of, noise_maps
from ganfoundry.network import load
from ganfoundry.projection.perceptual import PixelDistance
from tests.support.narrow import make_snapshot
from tests.support.recipes import own_recipes
from training.interface import ImageSpec
from training.registry import RECIPES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A command of the table.

    main: the command. flags: options in addition to --network, --outdir, --device and, for a conditional network,
    --class. files: names of all files that it writes. without_w: the words with which it refuses a network without a W
    space; None if it works with one. arrays: whether images that no PNG holds are written as .npy, too. timed: names of
    the files that hold times. `{target}` in flags is an image of the network's size and channels.
    """

    main: click.Command
    flags: tuple[str, ...]
    files: tuple[str, ...]
    without_w: str | None = None
    arrays: bool = True
    timed: tuple[str, ...] = ()


COMMANDS = {
    'generate': Row(main=generate.main, flags=('--seeds=0-1',), files=('seed0000.png', 'seed0001.png')),
    'generate --grid': Row(main=generate.main, flags=('--grid=2x1',), files=('grid-seeds0-1.png',), arrays=False),
    'style_mixing': Row(
        main=style_mixing.main,
        flags=('--rows=0', '--cols=1'),
        files=('0-1.png', 'grid.png'),
        without_w='{cfg} has no W space to mix styles in; gen_video.py --space=z interpolates',
    ),
    'inspect_network': Row(
        main=inspect_network.main,
        flags=('--what=enlarge', '--seeds=0-1'),
        files=('enlarge.png',),
        arrays=False,
    ),
    'projector': Row(
        main=projector.main,
        flags=('--target={target}', '--num-steps=1', '--init=mean'),
        files=('target.png', 'proj.png'),
        timed=('projection.json',),
    ),
}
WITH_W = {
    'auto',
    'stylegan2',
    'paper256',
    'paper512',
    'paper1024',
    'cifar',
    'gconv-stylegan2',
    'squeeze',
    'squeeze-small',
    'stylegan3-t',
    'stylegan3-r',
}
SQUARE = ImageSpec(resolution=16, channels=3, label_dim=0, num_images=8)
# Kinds of networks, each with StyleGAN2 and with a generator without a W space.
KINDS = {
    'conditional': dataclasses.replace(SQUARE, label_dim=3),
    'grey': dataclasses.replace(SQUARE, channels=1),
    'RGBA': dataclasses.replace(SQUARE, channels=4),
    '3:2': dataclasses.replace(SQUARE, base=(4, 6)),
    '16-bit': dataclasses.replace(SQUARE, channels=1, bits=16),
    'six-channel': dataclasses.replace(SQUARE, channels=6),
}
NETWORKS = [(cfg, 'RGB') for cfg in own_recipes()] + [(cfg, kind) for cfg in ('auto', 'dcgan') for kind in KINDS]


@pytest.fixture(scope='module')
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, ImageSpec]]:
    """A function from a `--cfg` and a kind of images to a snapshot and its facts."""
    folder = tmp_path_factory.mktemp('networks')

    @functools.cache
    def snapshot(cfg: str, kind: str) -> tuple[Path, ImageSpec]:
        spec = KINDS.get(kind, SQUARE)
        spec = dataclasses.replace(spec, resolution=max(16, RECIPES.get(cfg).min_resolution))
        path = folder / f'{cfg}-{len(list(folder.iterdir()))}.safetensors'
        return make_snapshot(path, cfg, spec, ('cat', 'dog', 'fox') if spec.label_dim else ()), spec

    return snapshot


@pytest.fixture
def target(tmp_path: Path) -> Callable[[ImageSpec], Path]:
    """A function that writes an image of the size, channels and bits that a network draws."""

    def write(spec: ImageSpec) -> Path:
        shape = [spec.height, spec.width, spec.channels]
        pixels = np.random.default_rng(0).integers(0, 2**spec.bits, shape)
        np.save(tmp_path / 'target.npy', pixels.astype(np.uint8 if spec.bits == 8 else np.uint16))
        return tmp_path / 'target.npy'

    return write


@pytest.mark.parametrize(('cfg', 'kind'), NETWORKS)
@pytest.mark.parametrize('command', COMMANDS)
def test_it_works_twice_with_equal_bytes_or_refuses(tmp_path, network, target, monkeypatch, command, cfg, kind):
    pixels = PixelDistance(), 'perceptual distance: pixels'
    monkeypatch.setattr('ganfoundry.projection.run.choose_perceptual', lambda device: pixels)  # saves minutes
    row = COMMANDS[command]
    path, spec = network(cfg, kind)
    label = ['--class=dog'] if spec.label_dim else []
    flags = [flag.format(target=target(spec)) for flag in row.flags]

    def run(name: str) -> dict[str, bytes]:
        outdir = tmp_path / name
        row.main.main(
            [f'--network={path}', f'--outdir={outdir}', '--device=cpu', *flags, *label], standalone_mode=False
        )
        return {file.name: file.read_bytes() for file in outdir.iterdir()}

    if row.without_w is not None and cfg not in WITH_W:
        with pytest.raises(ConfigError, match=re.escape(row.without_w.format(cfg=cfg))):
            run('a')
        assert not (tmp_path / 'a').exists()
        return
    found = run('a')
    pictures = {name for name in found if name.endswith('.png')}
    expected = set(row.files)
    if label and '--grid' in command:
        expected = {'grid-seeds0-1-dog.png'}
    assert pictures == expected
    if spec.channels > 4 and row.arrays:
        assert {name for name in found if name.endswith('.npy')} == {
            name.replace('.png', '.npy') for name in pictures if name != 'grid.png'
        }
    for name in pictures:
        with PIL.Image.open(tmp_path / 'a' / name) as picture:
            assert 'network_sha256' in picture.info
            assert picture.height % spec.height == 0 or name == 'grid.png'
    again = run('b')
    assert again.keys() == found.keys()
    assert {name for name in found if again[name] != found[name]} <= set(row.timed)


@pytest.mark.parametrize(('cfg', 'kind'), NETWORKS)
def test_gen_video_gives_equal_bytes_twice_and_frames_of_the_images_size(tmp_path, network, cfg, kind):
    path, spec = network(cfg, kind)
    label = ['--class=dog'] if spec.label_dim else []

    def run(name: str, *flags: str) -> np.ndarray:
        args = [f'--network={path}', '--device=cpu', '--w-frames=2', f'--output={tmp_path / name}', *flags, *label]
        gen_video.main.main(args, standalone_mode=False)
        return iio.imread(tmp_path / name, plugin='pyav')

    assert run('a.mkv', '--seeds=0-3', '--grid=2x1').shape == (4, spec.height, 2 * spec.width, 3)
    assert run('sweep.mkv', '--seeds=0', '--sweep=direction:0').shape == (2, spec.height, spec.width, 3)
    if cfg in ('auto', 'dcgan'):  # one network with W and one without, every kind
        run('b.mkv', '--seeds=0-3', '--grid=2x1')
        assert (tmp_path / 'a.mkv').read_bytes() == (tmp_path / 'b.mkv').read_bytes()


@pytest.mark.parametrize(('cfg', 'kind'), NETWORKS)
def test_an_exported_folder_draws_what_its_network_draws(tmp_path, network, cfg, kind):
    """The formats that trace the network are in tests/ganfoundry/export/test_every_export.py."""
    path, spec = network(cfg, kind)
    label = ['--class=dog'] if spec.label_dim else []
    kinds = cfg in ('auto', 'dcgan')  # one network with W and one without: the folder with a model card

    def run(name: str) -> dict[str, bytes]:
        flags = ['--format=hub' if kinds else '--format=safetensors', '--license=cc0-1.0']
        command = [f'--network={path}', *flags, f'--out={tmp_path / name}']
        export.main.main(command, standalone_mode=False)
        return {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}

    def draw(source: Path, name: str) -> np.ndarray:
        command = [f'--network={source}', '--seeds=3', '--device=cpu', f'--outdir={tmp_path / name}', *label]
        generate.main.main(command, standalone_mode=False)
        with PIL.Image.open(tmp_path / name / 'seed0003.png') as picture:
            return np.asarray(picture)

    exported = run('a')
    assert not kinds or run('b') == exported
    assert np.array_equal(draw(tmp_path / 'a', 'exported'), draw(path, 'own'))


@pytest.mark.parametrize(('cfg', 'kind'), NETWORKS)
def test_the_page_with_the_generator_inside_knows_every_input_of_its_model(network, cfg, kind):
    path, spec = network(cfg, kind)
    loaded = load(path, device='cpu')
    has_noise = bool(noise_maps(loaded.module))
    settings = OnnxSettings(noise='input' if has_noise else 'const')
    content = content_of(loaded, b'', settings)
    fields = json.loads(json.dumps(content.network))
    inputs = example_inputs(loaded.module, None, settings.noise, n=2)
    maps = {name: [2, 1, *size] for name, *size in fields['noise_maps']}
    page_inputs = {'z': [2, fields['z_dim']], 'psi': [], **maps}
    if spec.label_dim:
        page_inputs['c'] = [2, fields['c_dim']]
    assert page_inputs == {name: list(tensor.shape) for name, tensor in inputs.items()}
    assert len(content.noise) == sum(4 * height * width for _, height, width in fields['noise_maps'])
    assert fields['classes'] == (['cat', 'dog', 'fox'] if spec.label_dim else [])
    assert len(content.notes) == (spec.channels > 4) + (spec.bits == 16) + has_noise


@pytest.mark.parametrize(('cfg', 'kind'), NETWORKS)
def test_the_explorer_draws_what_its_command_draws(tmp_path, network, cfg, kind):
    path, spec = network(cfg, kind)
    files = StudioOptions(networks=(str(path),), bookmarks=str(tmp_path / 'latents.npz'), machine=Machine(device='cpu'))
    studio = Studio(files)
    label = 'dog' if spec.label_dim else ''
    for number, view in enumerate((View(seed=4, class_text=label), View(x=0.3, psi=0.7, class_text=label))):
        python, script, *args = shlex.split(studio.command(0, view))
        assert (python, script) == ('python', 'generate.py')
        outdir = tmp_path / str(number)
        generate.main.main([*args, f'--outdir={outdir}'], standalone_mode=False)
        (written,) = outdir.glob('*.png')
        shown = studio.picture(0, view, draft=False).data
        with PIL.Image.open(written) as theirs, PIL.Image.open(io.BytesIO(shown)) as ours:
            assert np.array_equal(np.asarray(theirs), np.asarray(ours))
        assert view.moved or shown == written.read_bytes()
        draft = studio.picture(0, view, draft=True)
        with PIL.Image.open(io.BytesIO(draft.data)) as picture:
            assert picture.size == (spec.width, spec.height)
