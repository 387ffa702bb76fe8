"""Style mixing: all styles give the column image and none the row image, to the bit; outputs have known names."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.commands import generate, style_mixing
from ganfoundry.network import load
from ganfoundry.style_layers import layers_of
from tests.conftest import ROOT
from training.run.latents import Latents, write_latents

PEEPS = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'


def mix(outdir, *flags):
    style_mixing.main.main([f'--network={PEEPS}', f'--outdir={outdir}', '--device=cpu', *flags], standalone_mode=False)
    return {path.name: path for path in outdir.iterdir()}


def draw(outdir, *flags):
    generate.main.main([f'--network={PEEPS}', f'--outdir={outdir}', '--device=cpu', *flags], standalone_mode=False)
    return {path.name: path for path in outdir.iterdir()}


def pixels(path):
    with PIL.Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize(('styles', 'position'), [('all', 1), ('none', 0), ('0-11', 1)])
@pytest.mark.parametrize('noise', ['const', 'random'])
def test_all_styles_give_the_column_and_none_the_row_to_the_bit(tmp_path, styles, position, noise):
    files = mix(tmp_path / 'm', '--rows=3-5', '--cols=7', f'--styles={styles}', '--trunc=0.7', f'--noise-mode={noise}')
    grid = pixels(files['grid.png'])
    for index, row in enumerate((3, 4, 5), start=1):
        sources = grid[32 * index : 32 * (index + 1), :32], grid[:32, 32:64]
        assert np.array_equal(pixels(files[f'{row}-7.png']), sources[position])
    if noise == 'const':  # random noise is a function of the seed in generate.py, and one for all mixtures here
        alone = draw(tmp_path / 'g', '--seeds=3-5,7', '--trunc=0.7')
        expected = ['seed0007.png'] * 3 if position else [f'seed{row:04d}.png' for row in (3, 4, 5)]
        for row, name in zip((3, 4, 5), expected, strict=True):
            assert np.array_equal(pixels(files[f'{row}-7.png']), pixels(alone[name]))


def test_outputs_have_the_names_of_stylegan2_ada_and_take_latents(tmp_path):
    network = load(PEEPS, device='cpu')
    with torch.no_grad():
        ws = network.module.mapping(network.latents([8, 9]), torch.zeros(2, 0))
    write_latents(tmp_path / 'me.npz', Latents(space='w', points=ws))
    files = mix(tmp_path / 'o', f'--rows=85,{tmp_path / "me.npz"}:1', '--cols=9,55', '--styles=coarse')
    assert sorted(files) == ['85-55.png', '85-9.png', 'grid.png', 'me-0001-55.png', 'me-0001-9.png']
    with PIL.Image.open(files['grid.png']) as picture:
        assert picture.width == 3 * 32
        assert picture.height > 3 * 32  # the caption
        assert json.loads(picture.info['styles']) == [0, 1, 2, 3, 4]
    same = draw(tmp_path / 'g', '--seeds=9')['seed0009.png']  # the file's point is that of seed 9
    assert np.array_equal(pixels(files['me-0001-9.png']), pixels(same))


def test_every_picture_is_drawn_again_to_the_byte(tmp_path):
    files = mix(tmp_path / 'a', '--rows=1-2', '--cols=3-5', '--batch=4')
    files |= mix(tmp_path / 'b', '--rows=1', '--cols=2-3', '--spectrum')
    for name in ('1-3.png', '2-5.png', 'grid.png', 'spectrum.png'):
        again = draw(tmp_path / 'again', f'--from={files[name]}')[name]
        assert again.read_bytes() == files[name].read_bytes()


def test_each_single_layer_is_shown_and_measured(tmp_path, capsys):
    files = mix(tmp_path / 'o', '--rows=85', '--cols=55,3', '--spectrum', '--report')
    assert sorted(files) == ['report.json', 'spectrum.png']
    record = json.loads(files['report.json'].read_text())
    network = load(PEEPS, device='cpu')
    layers = layers_of(network.module, network.spec)
    assert [row['index'] for row in record['layers']] == list(range(12)) == [layer.index for layer in layers]
    assert all(row['mean'] > 0 for row in record['layers'])
    assert record['pairs'] == ['85-55', '85-3']
    assert record['distance'] in capsys.readouterr().out
    sheet = pixels(files['spectrum.png'])
    assert sheet.shape[0] == 14 * 32
    again = mix(tmp_path / 'o', '--rows=85', '--cols=55,3', '--spectrum', '--report', '--overwrite')
    assert json.loads(again['report.json'].read_text()) == record


def test_the_list_shows_every_layer_and_needs_no_sources(tmp_path, capsys):
    style_mixing.main.main([f'--network={PEEPS}', '--styles=list', f'--outdir={tmp_path / "o"}', '--device=cpu'],
                           standalone_mode=False)  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert 'b8.squeeze' in lines[3]
    assert not (tmp_path / 'o').exists()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], '--rows and --cols: needed, for instance --rows=85,100 --cols=55,821'),
        (['--rows=1'], '--cols: needed'),
        (['--rows=1', '--cols=x'], "--cols=x: 'x' is neither a seed, a range of seeds, nor FILE.npz"),
        (['--rows=1', '--cols=absent.npz'], r'--cols=absent\.npz: expected an \.npz'),
        (['--rows=1', '--cols=2', '--styles=12'], '--styles=12: this network has num_ws = 12'),
        (['--rows=1', '--cols=2', '--trunc=nan'], '--trunc=nan: expected a finite number'),
        (['--rows=1', '--cols=2', '--class=0'], '--class=0: this network is unconditional; drop --class'),
        (
            ['--rows=1', '--cols=2', '--styles=0', '--spectrum'],
            'exchange each layer alone; drop --styles',
        ),
        (['--rows=0-9', '--cols=0-9', '--spectrum'], 'shows at most 32 pairs, and these are 100'),
    ],
)
def test_bad_input_is_named_and_nothing_is_made(tmp_path, flags, message):
    with pytest.raises(ConfigError, match=message):
        mix(tmp_path / 'o', *flags)
    assert not (tmp_path / 'o').exists()


def test_another_picture_is_not_replaced_without_a_word(tmp_path):
    mix(tmp_path / 'o', '--rows=1', '--cols=2')
    before = (tmp_path / 'o' / '1-2.png').read_bytes()
    mix(tmp_path / 'o', '--rows=1', '--cols=2')  # the same pictures
    with pytest.raises(ConfigError, match=r'1-2\.png: exists and is another picture; .*--overwrite'):
        mix(tmp_path / 'o', '--rows=1', '--cols=2', '--styles=10')
    assert (tmp_path / 'o' / '1-2.png').read_bytes() == before
    mix(tmp_path / 'o', '--rows=1', '--cols=2', '--styles=10', '--overwrite')
    assert (tmp_path / 'o' / '1-2.png').read_bytes() != before
