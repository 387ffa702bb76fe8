"""Identity of a data set: a digest by which it is known again after it was moved or renamed.

The digest of the listing covers names, sizes, the CRCs of a zip's index, and the labels. It costs one look at the index
of a zip, or at the size of every file of a folder. In a folder, another image of the same name and size goes unnoticed;
the digest of the contents, which reads every byte, notices it. It is the same for a folder and a zip of its files.
"""

from __future__ import annotations

import hashlib

from training.data.source import ImageSource


def listing_digest(source: ImageSource) -> str:
    """Returns the digest of a source's listing and labels, after its kind: 'zip:HEX' or 'folder:HEX'.

    Raises DataError for a file that is missing.
    """
    digest = hashlib.sha256()
    for index in range(len(source)):
        digest.update(source.facts(index) + b' ' + bytes(source.names[index]) + b'\n')
    return f'{source.kind}:{_with_labels(digest, source)}'


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
