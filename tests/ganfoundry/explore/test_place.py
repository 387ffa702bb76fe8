"""The point of a view: the plane through three seeds, steps along directions, styles of a second seed."""

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.class_option import NO_LABEL
from ganfoundry.explore.model import Model
from ganfoundry.explore.place import in_file_space, on_sphere, point_of
from ganfoundry.explore.view import Step, View
from ganfoundry.network import load
from ganfoundry.points import z_of
from tests.ganfoundry.explore.conftest import LABELED, PEEPS


@pytest.fixture(scope='module')
def peeps():
    return load(PEEPS, device='cpu')


def refuse(kind, label):
    raise AssertionError('no direction was asked for')


def w_of(network, seed, psi=1.0):
    with torch.no_grad():
        return network.module.mapping(z_of([seed], network.module.z_dim), None, truncation_psi=psi)[0]


def test_a_seed_is_a_seed_and_the_corners_of_the_plane_are_the_other_seeds(peeps):
    a = point_of(View(seed=4, psi=0.5), peeps, {}, refuse)
    assert (a.space, a.origin['seed'], a.name) == ('z', 4, 'seed0004')
    for view, seed in ((View(x=1), 1), (View(y=1), 2), (View(x=0.5, distance=2), 1)):
        point = point_of(view, peeps, {}, refuse)
        torch.testing.assert_close(point.latent, w_of(peeps, seed), rtol=0, atol=1e-5)
    middle = point_of(View(x=0.5, psi=0.7), peeps, {}, refuse)
    torch.testing.assert_close(middle.latent, (w_of(peeps, 0, 0.7) + w_of(peeps, 1, 0.7)) / 2, rtol=0, atol=1e-5)


def test_without_truncation_all_points_of_the_plane_are_equal(peeps):
    views = [View(psi=0, x=x, y=y, distance=3) for x, y in ((0.1, 0), (-1, 1), (0.3, 0.9))]
    points = [point_of(view, peeps, {}, refuse).latent for view in views]
    for point in points:
        torch.testing.assert_close(point, peeps.module.mapping.w_avg.expand_as(point), rtol=0, atol=1e-5)


def test_directions_move_every_style_by_standard_deviations(peeps):
    model = Model(peeps)
    start = w_of(peeps, 0)
    for kind in ('sefa', 'pca'):
        point = point_of(View(**{kind: (Step(2, -1.5),)}), peeps, {}, model._find)
        found = model._find(kind, NO_LABEL)
        step = -1.5 * found.deviations[2] * found.vectors[2]
        torch.testing.assert_close(point.latent, start + step, rtol=0, atol=1e-5)


def test_styles_of_the_second_seed_replace_those_of_the_point(peeps):
    point = point_of(View(x=0.5, mix=9, styles=(0, 5)), peeps, {}, refuse)
    plain = point_of(View(x=0.5), peeps, {}, refuse)
    other = w_of(peeps, 9)
    for index in range(len(other)):
        assert torch.equal(point.latent[index], (other if index in (0, 5) else plain.latent)[index])


def test_points_between_latents_have_the_length_of_latents(narrow):
    network = load(narrow('dcgan'), device='cpu')
    z = z_of([0, 1, 2], network.module.z_dim)
    middle = point_of(View(x=0.5), network, {}, refuse)
    assert middle.space == 'z'
    assert middle.latent.norm() == pytest.approx((z[0].norm() * z[1].norm()).sqrt().item(), rel=1e-5)
    np.testing.assert_allclose(point_of(View(x=1), network, {}, refuse).latent, z[1], atol=1e-5)
    assert on_sphere([z[0], -z[0], z[0]], 0.5, 0).isfinite().all()


def test_what_a_network_lacks_is_refused_in_words(peeps, narrow):
    dcgan, labeled = load(narrow('dcgan'), device='cpu'), load(narrow('auto', LABELED), device='cpu')
    for network, view, message in (
        (dcgan, View(styles=(0,)), 'dcgan has no W space to mix styles in'),
        (dcgan, View(pca=(Step(0, 1),)), 'has no W space, and z varies equally'),
        (peeps, View(styles=(12,)), 'this network has num_ws = 12, with indices 0 to 11'),
        (peeps, View(sefa=(Step(999, 1),)), 'sefa=999: this network has directions 0 to'),
        (peeps, View(class_text='1'), 'this network is unconditional'),
        (peeps, View(start='../../me'), 'no stored point of this server'),
        (labeled, View(class_text='3'), 'this network knows classes 0 to 2'),
    ):
        with pytest.raises(ConfigError, match=message):
            Model(network).point(view, {})


def test_a_seed_goes_to_a_file_in_w_and_truncated(peeps, narrow):
    point = point_of(View(seed=4, psi=0.5), peeps, {}, refuse)
    assert torch.equal(in_file_space(point, peeps, 0.5).latent, w_of(peeps, 4, 0.5))
    dcgan = load(narrow('dcgan'), device='cpu')
    assert in_file_space(point_of(View(seed=4), dcgan, {}, refuse), dcgan, 0.5).space == 'z'
