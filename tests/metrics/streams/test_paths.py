"""Pairs of images: their preparation for LPIPS, and their distances."""

import pytest
import torch

from metrics.detectors.lpips import Lpips
from metrics.streams.paths import pair_observer, prepare_ends
from tests.support.measured import SquaredPixels

# ---- what LPIPS sees


def test_the_crop_is_where_a_face_is():
    image = torch.arange(16.0 * 16).view(1, 1, 16, 16)
    assert torch.equal(prepare_ends(image, crop=True), image[:, :, 6:14, 4:12].expand(-1, 3, -1, -1))
    assert torch.equal(prepare_ends(image, crop=False), image.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ('size', 'crop', 'expected'),
    [
        ((256, 256), False, (256, 256)),
        ((512, 512), False, (256, 256)),
        ((1024, 1024), False, (256, 256)),
        ((1024, 1024), True, (128, 128)),
        ((256, 256), True, (128, 128)),
        ((512, 768), False, (256, 384)),
        ((300, 500), False, (300, 500)),
    ],
)
def test_images_above_256_are_averaged_in_boxes(size, crop, expected):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 255
    seen = prepare_ends(image, crop=crop)
    assert seen.shape[2:] == expected
    if not crop:
        assert float(seen.mean()) == pytest.approx(float(image.mean()), rel=1e-5)
        factor = size[0] // expected[0]
        assert float(seen[0, 1, 2, 3]) == pytest.approx(
            float(image[0, 1, 2 * factor : 3 * factor, 3 * factor : 4 * factor].mean()), rel=1e-5
        )


# ---- distances


def test_pairs_are_compared_part_by_part():
    pairs = torch.rand(11, 2, 3, 8, 8)
    observe = pair_observer(
        lambda parts: (pairs[part.start : part.stop] for part in parts), SquaredPixels(), crop=False
    )
    found = list(observe([range(6), range(8, 9)]))
    expected = (pairs[:, 0] - pairs[:, 1]).square().sum(dim=(1, 2, 3))[:, None]
    assert torch.allclose(found[0], expected[:6])
    assert torch.allclose(found[1], expected[8:9])


def test_lpips_serves_as_it_is():
    network = Lpips.random()
    a = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    (distances,) = pair_observer(lambda parts: iter([torch.stack([a, a + 1], dim=1)]), network, crop=False)([range(2)])
    assert torch.equal(distances[:, 0], network.distance(*(x.expand(-1, 3, -1, -1) for x in (a, a + 1))))
