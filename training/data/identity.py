"""Identity of a data set: a digest by which it is known again after it was moved or renamed.

The digest of the listing covers names, sizes, the CRCs of a zip's index, and the labels. It costs one look at the index
of a zip, or at the size of every file of a folder. In a folder, another image of the same name and size goes unnoticed;
the digest of the contents, which reads every byte, notices it. It is the same for a folder and a zip of its files.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from training.data.source import ImageSource

PARTS = 64  # groups in which changed files are counted; each has a share of the files, chosen by their names


def listing_digests(source: ImageSource) -> dict[str, Any]:
    """Returns digests of a source's listing and labels. Raises DataError for a file that is missing.

    'listing' covers everything, after the kind of the source: 'zip:HEX' or 'folder:HEX'. 'names' covers the names and
    labels, and 'parts' the files in `PARTS` shares, so that a few repaired images can be told from another data set.
    """
    names, parts = hashlib.sha256(), [hashlib.sha256() for _ in range(PARTS)]
    for index in range(len(source)):
        name = bytes(source.names[index])
        names.update(name + b'\n')
        parts[zlib.crc32(name) % PARTS].update(source.facts(index) + b' ' + name + b'\n')
    named = _with_labels(names, source)
    everything = hashlib.sha256(named.encode() + b''.join(part.digest() for part in parts)).hexdigest()
    return {
        'listing': f'{source.kind}:{everything}',
        'names': named,
        'parts': [part.hexdigest()[:8] for part in parts],
    }


def content_digest(source: ImageSource) -> str:
    """Returns the sha256 of all names, files and labels, in hex. Raises DataError for a file that cannot be read."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        data = source.read(index)
        digest.update(f'{len(data)} '.encode() + bytes(source.names[index]) + b'\n')
        digest.update(data)
    return _with_labels(digest, source)


def _with_labels(digest: hashlib._Hash, source: ImageSource) -> str:
    labels = source.read_labels()
    digest.update(b'no labels' if labels is None else hashlib.sha256(labels).digest())
    return digest.hexdigest()
