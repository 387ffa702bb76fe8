"""Starts: the nearest sample is never worse than the mean, and a file continues an earlier projection."""

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.projection.perceptual import Distance
from ganfoundry.projection.settings import Settings
from ganfoundry.projection.spaces import Drawer, statistics_of
from ganfoundry.projection.starts import initial_points, mean_of, nearest
from ganfoundry.projection.targets import as_batch
from tests.ganfoundry.projection.conftest import NO_LABEL
from training.run.latents import Latents, write_latents


@pytest.mark.parametrize('space', ['w', 'w+'])
def test_a_nearest_start_is_not_worse_than_the_mean(peeps, targets, quick, space):
    drawer, distance = Drawer(peeps.module, space), Distance(network=quick, weight=1)
    batch = as_batch(targets, torch.device('cpu'))
    start = nearest(drawer, batch, NO_LABEL, distance, seed=0)

    def distances(points):
        with torch.no_grad():
            images = drawer(points, NO_LABEL.expand(len(points), -1))
            return distance.total(distance.parts(images, distance.embed(images), batch, distance.embed(batch)))

    mean = mean_of(space, [statistics_of(peeps.module, NO_LABEL)] * len(batch), peeps.module)
    assert mean.shape == start.points.shape
    assert bool((distances(start.points) <= distances(mean)).all())


def test_a_target_has_the_start_that_it_has_alone(peeps, targets, quick):
    drawer, distance = Drawer(peeps.module, 'w'), Distance(network=quick, weight=1)
    batch = as_batch(targets, torch.device('cpu'))
    together = nearest(drawer, batch, NO_LABEL, distance, seed=0).points
    alone = [nearest(drawer, image, NO_LABEL, distance, seed=0).points for image in batch.split(1)]
    assert torch.equal(together, torch.cat(alone))


def test_a_file_is_a_start_for_one_or_for_every_target(tmp_path, peeps, capsys):
    G, path = peeps.module, tmp_path / 'a.npz'
    ws = torch.randn(1, G.num_ws, G.w_dim)
    write_latents(path, Latents(space='w', points=ws, provenance={'network_sha256': 'ab'}))
    for space, expected in (('w+', ws), ('w', ws.mean(dim=1))):
        found = initial_points(Settings(space=space, init=str(path)), 3, peeps)
        assert torch.equal(found, expected.expand(3, *expected.shape[1:]))
    assert 'made for the network with sha256 ab' in capsys.readouterr().err
    assert initial_points(Settings(space='w'), 3, peeps) is None
    with pytest.raises(ConfigError, match=r'a\.npz: holds w; --space=w or w\+ continues from it'):
        initial_points(Settings(space='z', init=str(path)), 3, peeps)
    write_latents(path, Latents(space='w', points=ws.expand(2, -1, -1).contiguous()))
    with pytest.raises(ConfigError, match='holds 2 latents; expected 1, or one per target'):
        initial_points(Settings(space='w', init=str(path)), 3, peeps)
    with pytest.raises(ConfigError, match=r'--init=.*nowhere'):
        initial_points(Settings(space='w', init=str(tmp_path / 'nowhere.npz')), 3, peeps)
