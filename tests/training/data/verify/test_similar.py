"""Duplicates: every pair within the distance is found, re-encoded pictures match, other faces do not."""

import io

import numpy as np
import pytest
from PIL import Image

from training.data.verify import similar
from training.data.verify.similar import (
    CandidatePairs,
    Group,
    candidate_pairs,
    confirmed,
    exact_groups,
    frequencies,
    linked_groups,
    look_alike,
)
from training.data.verify.similar import perceptual_hashes as hashes_of


def picture(seed: int, size: int = 64) -> Image.Image:
    """Returns smooth blobs of color."""
    noise = np.random.RandomState(seed).randint(0, 256, [6, 6, 3]).astype(np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((similar.THUMBNAIL_SIDE, similar.THUMBNAIL_SIDE), Image.Resampling.BOX))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', quality=quality)
    return Image.open(buffer)


def groups_of(kind: str, pairs: CandidatePairs, thumbnails: list[np.ndarray]) -> list[Group]:
    return linked_groups(kind, confirmed(kind, pairs, dict(enumerate(thumbnails))))


def test_an_x_flip_negates_the_odd_horizontal_frequencies():
    thumbnails = [thumbnail(picture(seed)) for seed in range(50)]
    plain = np.stack([frequencies(t) for t in thumbnails])
    flipped = np.stack([frequencies(t[:, ::-1]) for t in thumbnails])
    odd = similar._COLUMNS % 2 == 1
    np.testing.assert_allclose(flipped[:, odd], -plain[:, odd], atol=1e-2)
    np.testing.assert_allclose(flipped[:, ~odd], plain[:, ~odd], atol=1e-2)
    assert odd.sum() in range(24, 41)


def test_frequencies_are_an_orthonormal_cosine_transform():
    np.testing.assert_allclose(similar._DCT @ similar._DCT.T, np.eye(32), atol=1e-12)
    assert len(set(zip(similar._ROWS, similar._COLUMNS, strict=True))) == 64
    assert (0, 0) not in set(zip(similar._ROWS, similar._COLUMNS, strict=True))


def test_brightness_does_not_enter_a_hash():
    image = np.clip(thumbnail(picture(1)), 0, 200)
    np.testing.assert_allclose(frequencies(image + np.uint8(40)), frequencies(image), atol=0.5)


@pytest.mark.parametrize('max_distance', [0, 3, 6, 15])
def test_candidates_are_all_pairs_within_the_distance(max_distance):
    """Against every pair, in hashes that are made to be close."""
    random = np.random.RandomState(0)
    hashes = np.repeat(random.randint(0, 2**63, 60).astype(np.uint64), 5)
    for _ in range((max_distance + 1) // 2):
        hashes ^= np.uint64(1) << random.randint(0, 64, len(hashes)).astype(np.uint64)
    positions = np.setdiff1d(np.arange(len(hashes)), [3, 17])
    pairs = candidate_pairs(hashes, hashes, positions, max_distance)
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    expected = {
        (i, j) for i in positions.tolist() for j in positions.tolist() if i < j and distance[i, j] <= max_distance
    }
    assert len(expected) > 30
    assert set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == expected
    assert pairs.complete


def test_too_many_candidates_keep_the_closest_and_say_so(monkeypatch):
    monkeypatch.setattr(similar, 'MAX_PAIRS', 10)
    monkeypatch.setattr(similar, '_CHUNK', 7)
    hashes = np.array([0, 0, 0, 0, 0, 1, 3, 7], dtype=np.uint64)
    pairs = candidate_pairs(hashes, hashes, np.arange(8), 3)
    assert not pairs.complete
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(i, j) for i in range(5) for j in range(i + 1, 5)]


def test_equal_digests_are_grouped_largest_first():
    digests = np.random.RandomState(0).randint(0, 256, [9, 32]).astype(np.uint8)
    digests[4] = digests[1]
    digests[[0, 5, 8]] = digests[2]
    groups = exact_groups(digests, np.array([0, 1, 2, 3, 4, 5, 6, 7]))  # 8 could not be read
    assert [group.positions for group in groups] == [(0, 2, 5), (1, 4)]


def test_no_images_have_no_duplicates():
    nothing = np.empty(0, dtype=np.int64)
    assert exact_groups(np.empty([0, 32], dtype=np.uint8), nothing) == []
    hashes = np.empty(0, dtype=np.uint64)
    assert len(candidate_pairs(hashes, hashes, nothing, 6).first) == 0


@pytest.mark.parametrize('quality', [90, 75])
def test_a_re_encoded_or_resized_picture_looks_alike_and_hashes_alike(quality):
    images = [picture(seed, 128) for seed in range(60)]
    changed = [as_jpeg(image, quality).resize((160, 160), Image.Resampling.LANCZOS) for image in images]
    thumbnails = [thumbnail(image) for image in [*images, *changed]]
    hashes, _ = hashes_of(np.stack([frequencies(t) for t in thumbnails]))
    pairs = candidate_pairs(hashes, hashes, np.arange(120), 6)
    groups = groups_of('near-duplicate', pairs, thumbnails)
    assert sorted(group.positions for group in groups) == [(i, i + 60) for i in range(60)]


def test_a_mirrored_picture_is_found_and_a_plain_one_is_not_called_mirrored():
    images = [picture(seed) for seed in range(40)]
    thumbnails = [thumbnail(image) for image in images]
    thumbnails += [t[:, ::-1] for t in thumbnails[:20]] + thumbnails[20:]
    hashes, flipped = hashes_of(np.stack([frequencies(t) for t in thumbnails]))
    pairs = candidate_pairs(hashes, flipped, np.arange(80), 6)
    groups = groups_of('flipped-duplicate', pairs, thumbnails)
    assert sorted(group.positions for group in groups) == [(i, i + 40) for i in range(20)]


def test_groups_join_what_is_alike_through_a_third():
    base = thumbnail(picture(0)).clip(20, 200)
    chain = [base, base + np.uint8(4), base + np.uint8(8)]  # the ends differ by more than the limit
    assert not look_alike(chain[0], chain[2])
    pairs = CandidatePairs(np.array([1, 0, 0]), np.array([2, 1, 2]), True)
    groups = groups_of('near-duplicate', pairs, chain)
    assert [group.positions for group in groups] == [(0, 1, 2)]


def test_blocks_hold_every_pair_once():
    pairs = CandidatePairs(np.array([5, 1, 3, 1, 2]), np.array([6, 9, 4, 2, 8]), True)
    blocks = list(pairs.blocks(2))
    assert [list(zip(b.first.tolist(), b.second.tolist(), strict=True)) for b in blocks] == [
        [(1, 2), (1, 9)],
        [(2, 8), (3, 4)],
        [(5, 6)],
    ]


def test_a_small_part_that_differs_is_another_picture():
    """The average hides it, the worst block does not: the same drawing with another face."""
    a = thumbnail(picture(0))
    b = a.copy()
    b[12:18, 12:18] ^= 128
    assert np.abs(a.astype(int) - b).mean() < 6
    assert not look_alike(a, b)
