"""Findings about the duplicates of a data set: pairs of images, and differences of their labels.

Letters: n images in the check; rows are numbered 0 to n - 1, positions are those in the source.
"""

from __future__ import annotations

import functools

import numpy as np

from dnnlib.errors import DataError
from training.data.pool import MIN_JOBS, map_in_order
from training.data.source import ImageSource
from training.data.verify.findings import Findings
from training.data.verify.image import ImageFault, decode_image, thumbnail
from training.data.verify.labels import UNLABELED, LabelSummary
from training.data.verify.similar import (
    MAX_PAIRS,
    Group,
    candidate_pairs,
    confirmed,
    exact_groups,
    linked_groups,
    perceptual_hashes,
)

CHUNK_SIZE = 16  # images that a process receives at a time, because reading one takes little time

_BLOCK = 2**16  # pairs compared together: 3 kB per image, of at most twice as many images
_WORDS = {
    'exact-duplicate': 'has the same pixels as',
    'near-duplicate': 'looks like',
    'flipped-duplicate': 'is the mirror image of',
}


def find_duplicates(
    source: ImageSource,
    positions: np.ndarray,
    table: np.ndarray,
    labels: LabelSummary,
    near: int,
    findings: Findings,
    num_workers: int,
) -> list[Group]:
    """Finds exact, near and mirrored duplicates, and adds a finding for every image of a group except its first.

    Near and mirrored duplicates are searched among one image of each exact group, without images of a single color.

    Args:
        source: Images of the data set.
        positions: Positions of the images in the check, int64 [n].
        table: Records of the images, [n], with the fields height (0 without pixels), flat, digest and spectrum.
        labels: Labels of the data set.
        near: Bits of 64 in which the hashes of near duplicates may differ.
        findings: Findings to extend.
        num_workers: Number of processes.

    Returns:
        Groups of positions, exact ones first.
    """
    present = np.flatnonzero(table['height'] > 0)
    groups = exact_groups(table['digest'], present)
    again = [row for group in groups for row in group.positions[1:]]
    single = np.setdiff1d(present[~table['flat'][present]], again)
    if len(single):
        groups += _look_alikes(source, positions, table['spectrum'], single, near, findings, num_workers)
    groups = [Group(group.kind, tuple(int(positions[row]) for row in group.positions)) for group in groups]
    for group in groups:
        _add_findings(group, source, labels, findings)
    return groups


def read_thumbnail(source: ImageSource, position: int) -> np.ndarray:
    """Returns the thumbnail uint8 [S, S, 3] of an image. Raises DataError when it can no longer be decoded."""
    try:
        return thumbnail(decode_image(source.read(position), source.name(position)).array)
    except ImageFault as fault:
        raise DataError(f'{source.where(position)}: {fault.words}; was it changed meanwhile?') from fault


def _look_alikes(
    source: ImageSource,
    positions: np.ndarray,
    spectra: np.ndarray,
    rows: np.ndarray,
    near: int,
    findings: Findings,
    num_workers: int,
) -> list[Group]:
    """Finds near and mirrored duplicates. A symmetric picture, its own mirror image, is only a near duplicate.

    Args:
        source: Images of the data set.
        positions: Positions of the images in the check, int64 [n].
        spectra: Lowest frequencies of the images, float16 [n, 64].
        rows: Rows to compare, ascending, int64 [m].
        near: Bits of 64 in which the hashes may differ.
        findings: Findings to extend.
        num_workers: Number of processes.

    Returns:
        Groups of rows.
    """
    hashes = np.zeros([2, len(spectra)], dtype=np.uint64)  # plain, mirrored
    hashes[:, rows] = perceptual_hashes(spectra[rows])
    groups: list[Group] = []
    for kind, queries in zip(('near-duplicate', 'flipped-duplicate'), hashes, strict=True):
        pairs = candidate_pairs(hashes[0], queries, rows, near)
        if not pairs.complete:
            findings.add('some-candidates', source.path, f'only the {MAX_PAIRS} closest pairs were compared')
        links = []
        for block in pairs.blocks(_BLOCK):
            needed = np.union1d(block.first, block.second)
            processes = num_workers if len(needed) >= MIN_JOBS else 1
            function = functools.partial(read_thumbnail, source)
            images = map_in_order(function, positions[needed].tolist(), processes, chunk_size=CHUNK_SIZE)
            links += confirmed(kind, block, dict(zip(needed.tolist(), images, strict=True)))
        known = [set(group.positions) for group in groups]
        found = linked_groups(kind, links)
        groups += [group for group in found if not any(other >= set(group.positions) for other in known)]
    return groups


def _add_findings(group: Group, source: ImageSource, labels: LabelSummary, findings: Findings) -> None:
    """Adds a finding for every image of a group except its first.

    Args:
        group: Duplicates, by position.
        source: Images of the data set.
        labels: Labels of the data set.
        findings: Findings to extend.
    """
    first = group.positions[0]
    for position in group.positions[1:]:
        other_name = source.name(first)
        words = f'{_WORDS[group.kind]} {other_name}'
        own, other = labels.classes[[position, first]] if len(labels.classes) else (UNLABELED, UNLABELED)
        if own != other and UNLABELED not in (own, other):
            words += f', in class {own} instead of {other}'
        findings.add(group.kind, source.name(position), words, other_name)
