"""Spaces: which a generator has, how points are stored, and how far they are from the mean."""

from types import SimpleNamespace

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.projection.spaces import Drawer, check_space, distance_from_mean, expand, statistics_of, stored
from tests.ganfoundry.projection.conftest import NO_LABEL
from tests.support.networks import tiny_G


def test_the_default_is_w_and_z_without_w():
    assert check_space(None, tiny_G()) == 'w'
    assert check_space(None, SimpleNamespace(z_dim=4)) == 'z'


@pytest.mark.parametrize('space', ['w', 'w+', 'pti'])
def test_w_of_a_generator_without_w_is_refused_with_the_way_out(space):
    with pytest.raises(ConfigError, match=r'has no W space; use --space=z'):
        check_space(space, SimpleNamespace(z_dim=4))
    with pytest.raises(ConfigError, match=r'--space=w2: choose one of w, w\+, z, pti'):
        check_space('w2', tiny_G())


def test_the_spaces_agree_where_they_meet(peeps):
    G, z = peeps.module, peeps.latents([3])
    ws = G.mapping(z, NO_LABEL)
    images = [Drawer(G, 'z')(z, NO_LABEL), Drawer(G, 'w')(ws[:, 0], NO_LABEL), Drawer(G, 'w+')(ws, NO_LABEL)]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert stored('z', z, G)[0] == 'z'
    for space, points in (('w', ws[:, 0]), ('w+', ws)):
        name, latents = stored(space, points, G)
        assert (name, latents.shape) == ('w', ws.shape)
        assert torch.equal(latents, ws)


def test_samples_are_one_standard_deviation_from_the_mean_on_average(peeps):
    G = peeps.module
    of = statistics_of(G, NO_LABEL)
    assert torch.allclose(of.mean, G.mapping.w_avg, atol=0.2 * of.std)
    z = torch.randn(200, G.z_dim, generator=torch.Generator().manual_seed(0))
    w = G.mapping(z, NO_LABEL)[:, 0]
    far = [distance_from_mean('w', w[i : i + 1], NO_LABEL, G, of) for i in range(len(w))]
    assert sum(d**2 for d in far) / len(far) == pytest.approx(1, abs=0.1)
    assert distance_from_mean('z', z[:1], NO_LABEL, G, of) == pytest.approx(far[0], rel=1e-5)
    assert distance_from_mean('w+', expand(w[:1], G.num_ws), NO_LABEL, G, of) == pytest.approx(far[0], rel=1e-5)
