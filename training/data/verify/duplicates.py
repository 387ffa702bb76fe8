"""The duplicates of a data set as findings: which images, of which, and whether their labels agree.

Letters: n images looked at; rows are numbered 0 to n - 1, positions are those in the source.
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

CHUNK_SIZE = 16  # images that a process receives at a time: reading one is short

_BLOCK = 2**16  # pairs compared together: 3 kB for each of at most twice as many images
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
    """Groups by position, exact ones first; a finding for every image of a group but its first.

    positions: int64 [n]. table: [n] with the fields height (0 where there are no pixels), flat, digest, spectrum.
    near: bits of 64 in which hashes may differ. Near and mirrored ones are looked for among one image of each exact
    group, and not among those of one colour.
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
    """uint8 [S, S, 3] of an image that was decoded before; raises DataError when it no longer can be."""
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
    """Near and mirrored duplicates among `rows`. A symmetric picture is its own mirror image: near is enough said."""
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
    first = group.positions[0]
    for position in group.positions[1:]:
        words = f'{_WORDS[group.kind]} {source.name(first)}'
        own, other = labels.classes[[position, first]] if len(labels.classes) else (UNLABELED, UNLABELED)
        if own != other and UNLABELED not in (own, other):
            words += f', in class {own} instead of {other}'
        findings.add(group.kind, source.name(position), words)
