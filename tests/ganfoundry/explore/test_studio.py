"""The picture of a view is that of generate.py with the copied command, bit for bit, with all options."""

import io
import shlex

import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.commands import generate
from ganfoundry.explore.command_line import Machine
from ganfoundry.explore.studio import Studio, StudioOptions
from ganfoundry.explore.view import Step, View
from tests.ganfoundry.explore.conftest import LABELED, PEEPS
from training.run.latents import Latents, write_latents


def pixels(data):
    with PIL.Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


PEEPS_VIEWS = {
    'seed': View(seed=5),
    'truncated': View(seed=5, psi=0.7),
    'without noise': View(seed=5, noise='none'),
    'random noise': View(seed=5, noise='random'),
    'random noise by a seed': View(seed=5, noise='random', noise_seed=77),
    'plane': View(x=0.31, y=-0.2, distance=1.7, psi=0.8),
    'plane with random noise': View(x=0.31, noise='random'),
    'plane with noise by a seed': View(x=0.31, noise='random', noise_seed=3),
    'layers': View(mix=8, styles=(1, 2, 3), psi=0.6),
    'directions': View(sefa=(Step(0, 1.5), Step(4, -2.0)), pca=(Step(1, 3.0),), x=0.1),
}


@pytest.fixture(scope='module')
def peeps(tmp_path_factory):
    path = tmp_path_factory.mktemp('bookmarks') / 'latents.npz'
    return Studio(StudioOptions(networks=(str(PEEPS),), bookmarks=str(path), machine=Machine(device='cpu')))


@pytest.mark.parametrize('name', PEEPS_VIEWS)
def test_the_picture_is_that_of_the_copied_command(peeps, generated, name):
    view = PEEPS_VIEWS[name]
    data, drawn = generated(peeps.command(0, view))
    picture = peeps.picture(0, view, draft=False)
    assert np.array_equal(pixels(picture.data), drawn)
    assert view.moved or picture.data == data  # text chunks included
    assert np.array_equal(pixels(peeps.picture(0, view, draft=True).data), drawn)  # drafts of this size are lossless


@pytest.mark.parametrize(
    ('cfg', 'labeled', 'view'),
    [
        ('squeeze', True, View(class_text='1', x=0.5)),
        ('squeeze', True, View(seed=3, class_text='0:0.25+2:0.75')),
        ('squeeze', True, View(seed=3)),
        ('dcgan', False, View(seed=3, psi=0.5)),
        ('dcgan', False, View(x=0.4, psi=0.5, sefa=(Step(0, 1.0),))),
        ('dcgan', True, View(x=0.4, class_text='2')),
        ('dcgan', True, View(seed=1, class_text='2', psi=0.8, recalibrate=True)),
        ('dcgan', True, View(y=0.4, class_text='2', psi=0.8, recalibrate=True)),
        ('stylegan3-r', False, View(seed=2, translate_x=0.25, rotate=30.0)),
        ('stylegan3-r', False, View(x=0.2, translate_y=-0.125)),
    ],
)
def test_it_is_for_networks_of_every_kind(narrow, studio, generated, cfg, labeled, view):
    opened = studio(narrow(cfg, LABELED) if labeled else narrow(cfg))
    before = opened.picture(0, View(), draft=False).data
    picture = opened.picture(0, view, draft=False)
    assert np.array_equal(pixels(picture.data), generated(opened.command(0, view))[1])
    # Neither a transform nor measured statistics stay behind.
    assert opened.picture(0, View(), draft=False).data == before
    assert np.array_equal(pixels(before), generated(opened.command(0, View()))[1])


def test_stored_points_are_starts_that_the_command_names(narrow, studio, generated, tmp_path):
    path = tmp_path / 'me.npz'
    write_latents(path, Latents(space='z', points=torch.randn(3, 128, generator=torch.Generator().manual_seed(0))))
    opened = studio(PEEPS, latents=(f'{path}:0,2',))
    assert opened.info()['starts'] == ['me-0000', 'me-0002']
    view = View(start='me-0002', psi=0.6, noise='random')
    line = opened.command(0, view)
    assert f'--latents={path}:2' in shlex.split(line)
    assert not (tmp_path / 'latents.npz').exists()
    assert np.array_equal(pixels(opened.picture(0, view, draft=False).data), generated(line)[1])
    moved = View(start='me-0002', x=0.5)
    line = opened.command(0, moved)
    assert f'--latents={tmp_path / "latents.npz"}:0' in shlex.split(line)
    assert np.array_equal(pixels(opened.picture(0, moved, draft=False).data), generated(line)[1])


@pytest.mark.parametrize(
    'view', [View(seed=5, psi=0.7), View(x=0.3, mix=8, styles=(1,), noise='random')], ids=['seed', 'mixture']
)
def test_a_saved_picture_is_drawn_again_from_its_own_text(peeps, tmp_path, view):
    path = tmp_path / 'view.png'
    path.write_bytes(peeps.picture(0, view, draft=False).data)
    outdir = tmp_path / 'again'
    args = [f'--network={PEEPS}', f'--from={path}', f'--outdir={outdir}', '--device=cpu']
    generate.main.main(args, standalone_mode=False)
    assert (outdir / 'view.png').read_bytes() == path.read_bytes()


def test_the_seed_of_a_view_leaves_no_file(studio, tmp_path):
    opened = studio(PEEPS)
    line = opened.command(0, View(seed=3, psi=0.7))
    assert shlex.split(line)[2:] == [f'--network={PEEPS}', '--seeds=3', '--trunc=0.7', '--device=cpu']
    assert not (tmp_path / 'latents.npz').exists()


def test_two_networks_are_drawn_side_by_side(narrow, studio):
    opened = studio(PEEPS, narrow('dcgan'))
    assert [network['cfg'] for network in opened.info()['networks']] == ['squeeze', 'dcgan']
    assert opened.picture(0, View(x=0.2), draft=False).digest != opened.picture(1, View(x=0.2), draft=False).digest
    with pytest.raises(ConfigError, match='side=1: no such picture'):
        studio(PEEPS).picture(1, View(), draft=False)


def test_the_facts_say_which_controls_a_network_has(narrow, studio):
    (peeps,) = studio(PEEPS).info()['networks']
    assert peeps['noise']
    assert not peeps['batch_norm']
    assert not peeps['movable']
    assert len(peeps['layers']) == 12
    assert peeps['directions'].keys() == {'sefa', 'pca'}
    dcgan, style3 = studio(narrow('dcgan', LABELED), narrow('stylegan3-r')).info()['networks']
    assert dcgan['batch_norm']
    assert not dcgan['noise']
    assert dcgan['layers'] == []
    assert dcgan['directions'].keys() == {'sefa'}
    assert dcgan['class_names'][1] == '<script>alert(1)</script>'
    assert style3['movable']


def test_a_bookmark_file_that_does_not_fit_is_refused_before_it_serves(studio, narrow, tmp_path):
    path = tmp_path / 'latents.npz'
    write_latents(path, Latents(space='z', points=torch.randn(1, 7)))
    with pytest.raises(ConfigError, match=r'--bookmarks=.*latents.npz: z is .* name another file'):
        studio(PEEPS)
