"""Search for duplicate pictures: with the same pixels, nearly the same, or mirrored left to right.

The sha256 reveals equal pixels. Near duplicates are found in two steps: 64-bit perceptual hashes that differ in few
bits give candidates, and a comparison of two thumbnails confirms them. 160 bytes are kept per image: the digest of its
pixels (32) and the 64 frequencies that make its hash (128). The thumbnails of candidates are computed a second time.

Letters: n images, m pairs, S = 32 side of a thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

THUMBNAIL_SIDE = 32  # pixels, of thumbnails that are hashed and compared
_HASH_BITS = 64
MAX_DISTANCE = 15  # bits; at larger distances, most pairs of a data set are candidates
MAX_PAIRS = 200_000  # limit of compared pairs, for sets that hold a thousand almost equal frames

# Difference of two thumbnails in levels of 255, on average and in the worst block of 4 x 4. Re-encoded, resized and
# brightened pictures of 64 pixels stay below both; a drawing with another face stays below the first only.
_MAX_DIFFERENCE, _MAX_BLOCK_DIFFERENCE, _BLOCK = 6.0, 16.0, 4

_BANDS, _BAND_BITS = 4, 16
_CHUNK = 2**21  # pairs that are examined together
_NOISE = 3.0  # noise of a frequency from re-encoding, in levels; smooth or symmetric pictures have many below it
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Group:
    """A group of duplicates."""

    kind: str  # 'exact-duplicate' | 'near-duplicate' | 'flipped-duplicate'
    positions: tuple[int, ...]  # ascending


@dataclass(frozen=True, slots=True)
class CandidatePairs:
    """Candidates for duplicates, closest first."""

    first: np.ndarray  # int64 [m]
    second: np.ndarray  # int64 [m], second > first
    complete: bool  # no pair was left out to stay below MAX_PAIRS

    def blocks(self, size: int) -> Iterator[CandidatePairs]:
        """Yields at most `size` pairs at a time, in the order of their first, so that a block needs few images."""
        order = np.lexsort([self.second, self.first])
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield CandidatePairs(self.first[part], self.second[part], self.complete)


def frequencies(thumbnail: np.ndarray) -> np.ndarray:
    """Returns the 64 lowest frequencies of a thumbnail uint8 [S, S, 3], without its mean; float16 [64]."""
    gray = thumbnail @ _LUMA - 127.5  # [S, S]
    spectrum = _DCT @ gray @ _DCT.T  # [S, S]
    lowest: np.ndarray = spectrum[_ROWS, _COLUMNS].astype(np.float16)
    return lowest


def perceptual_hashes(spectra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns hashes of images and of their x-flips, uint64 [n] each, from `frequencies` float16 [n, 64].

    A bit says whether a frequency is clearly above its median in this data set. With zero as the threshold, as in
    pHash, aligned faces would share most of their bits, and a part of the hash would not suffice for a lookup.
    """
    sample = spectra[:: max(len(spectra) // 2**16, 1)].astype(np.float32)  # sufficient for a median
    threshold = np.median(sample, axis=0) + _NOISE  # [64]
    mirrored = np.where(_COLUMNS % 2 == 1, -1, 1).astype(np.float16)  # an x-flip negates the odd cosines
    return _pack(spectra > threshold), _pack(spectra * mirrored > threshold)


def exact_groups(digests: np.ndarray, positions: np.ndarray) -> list[Group]:
    """Returns groups of equal digests uint8 [n, 32] among `positions` int64 [m]."""
    order = positions[np.lexsort(digests[positions].view(np.uint64).T)]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    runs = np.split(order, np.flatnonzero(new)[1:])
    return _largest_first([Group('exact-duplicate', tuple(sorted(run.tolist()))) for run in runs])


def candidate_pairs(
    hashes: np.ndarray, queries: np.ndarray, positions: np.ndarray, max_distance: int
) -> CandidatePairs:
    """Finds pairs i < j with queries[i] within a distance of hashes[j].

    Multi-index hashing (Norouzi et al., CVPR 2012): if two hashes of 64 bits differ in at most d bits, one of their 4
    bands of 16 bits differs in at most d // 4. So no pair is missed, and only images that nearly share a band are
    compared.

    Args:
        hashes: Hashes of the images, uint64 [n].
        queries: The same hashes for near duplicates, the hashes of the x-flips for mirrored ones, uint64 [n].
        positions: Images to compare, ascending, int64 [m].
        max_distance: Limit of the distance in bits.
    """
    n, complete = len(hashes), True
    found = np.empty(0, dtype=np.int64)  # (distance * n + i) * n + j, ascending
    wanted, known = queries[positions], hashes[positions]
    for query, hit in _sharing_a_band(wanted, known, max_distance // _BANDS):
        ahead = query < hit
        query, hit = query[ahead], hit[ahead]
        distance = np.bitwise_count(wanted[query] ^ known[hit])
        close = distance <= max_distance
        i, j = positions[query[close]], positions[hit[close]]
        found = np.union1d(found, (distance[close].astype(np.int64) * n + i) * n + j)
        complete = complete and len(found) <= MAX_PAIRS
        found = found[:MAX_PAIRS]
    return CandidatePairs(found // n % n, found % n, complete)


def confirmed(kind: str, pairs: CandidatePairs, thumbnails: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    """Returns the candidates that are duplicates.

    Args:
        kind: 'near-duplicate', or 'flipped-duplicate', for which the second image of a pair is mirrored.
        pairs: Candidates.
        thumbnails: Thumbnails of the images of the pairs, uint8 [S, S, 3], by position.
    """
    links = []
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        other = thumbnails[second]
        if look_alike(thumbnails[first], other[:, ::-1] if kind == 'flipped-duplicate' else other):
            links.append((first, second))
    return links


def linked_groups(kind: str, links: list[tuple[int, int]]) -> list[Group]:
    """Returns the groups of images that are connected by links, directly or indirectly; largest first."""
    parent: dict[int, int] = {}

    def root(position: int) -> int:
        while parent.setdefault(position, position) != position:
            position = parent[position]
        return position

    for link in links:
        low, high = sorted(map(root, link))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for position in sorted(parent):
        groups.setdefault(root(position), []).append(position)
    return _largest_first([Group(kind, tuple(group)) for group in groups.values()])


def look_alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two thumbnails uint8 [S, S, 3] differ only in encoding, size and slightly in brightness."""
    difference = np.abs(a.astype(np.int16) - b).mean(axis=2)  # [S, S]
    blocks = difference.reshape(THUMBNAIL_SIDE // _BLOCK, _BLOCK, THUMBNAIL_SIDE // _BLOCK, _BLOCK).mean(axis=(1, 3))
    return bool(difference.mean() < _MAX_DIFFERENCE and blocks.max() < _MAX_BLOCK_DIFFERENCE)


def _sharing_a_band(queries: np.ndarray, hashes: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields indices (query, hash) with a band that differs in few bits, int64 [m] each, in chunks.

    Args:
        queries: Hashes to look up, uint64 [n].
        hashes: Hashes to find, uint64 [n].
        radius: Limit of the bits in which the band differs.
    """
    masks = np.arange(2**_BAND_BITS, dtype=np.uint64)
    masks = masks[np.bitwise_count(masks) <= radius]
    for band in range(_BANDS):
        keys = _band(hashes, band)
        order = np.argsort(keys, kind='stable')
        keys = keys[order]
        for mask in masks:
            wanted = _band(queries, band) ^ mask
            begin = np.searchsorted(keys, wanted, side='left')
            count = np.searchsorted(keys, wanted, side='right') - begin
            yield from _expand(begin, count, order)


def _expand(begin: np.ndarray, count: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the runs order[begin[q] : begin[q] + count[q]] as pairs (q, element), about _CHUNK at a time.

    Args:
        begin: Start of each run, int64 [n].
        count: Length of each run, int64 [n].
        order: Elements, int64 [n].
    """
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side='right')), start + 1)
        part = count[start:stop]
        query = np.repeat(np.arange(start, stop), part)
        within = np.arange(len(query)) - np.repeat(np.cumsum(part) - part, part)
        yield query, order[np.repeat(begin[start:stop], part) + within]
        start = stop


def _band(hashes: np.ndarray, band: int) -> np.ndarray:
    """Returns 16 bits of each hash, uint64 [n]."""
    return (hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)


def _pack(bits: np.ndarray) -> np.ndarray:
    """Packs bool [n, 64] into uint64 [n]."""
    return np.packbits(bits, axis=1).view('>u8')[:, 0].astype(np.uint64)


def _largest_first(groups: list[Group]) -> list[Group]:
    """Drops groups of one image, and sorts the others, largest first."""
    several = (group for group in groups if len(group.positions) > 1)
    return sorted(several, key=lambda group: (-len(group.positions), group.positions))


def _dct_matrix() -> np.ndarray:
    """Returns the orthonormal DCT-II, float64 [S, S]: frequency by pixel."""
    k, x = np.arange(THUMBNAIL_SIDE)[:, None], np.arange(THUMBNAIL_SIDE)[None, :]
    matrix: np.ndarray = np.cos(np.pi * k * (2 * x + 1) / (2 * THUMBNAIL_SIDE)) * np.sqrt(2 / THUMBNAIL_SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix


def _lowest() -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns of the 64 lowest frequencies without the mean, int64 [64] each, dealt to the bands.

    Each band receives strong low frequencies and weak high ones, so that all bands are equally good for a lookup.
    """
    by_height = sorted((u + v, u, v) for u in range(THUMBNAIL_SIDE) for v in range(THUMBNAIL_SIDE))[1 : 1 + _HASH_BITS]
    dealt = [entry for band in range(_BANDS) for entry in by_height[band::_BANDS]]
    return np.array([u for _, u, _ in dealt]), np.array([v for _, _, v in dealt])


_DCT = _dct_matrix()
_ROWS, _COLUMNS = _lowest()
