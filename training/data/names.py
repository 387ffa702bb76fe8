"""Names of the files of a data set: their encoding, their comparison, and their place on the disk.

A name is a path inside the source with `/`, as UTF-8; bytes that are not UTF-8 become surrogates. It does not depend on
the locale, so that labels and digests do not either.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

LABELS_NAME = 'dataset.json'
MAX_NAME_BYTES = 1024  # limit for a path inside a source; all names are kept in an array as wide as the longest


def encode_names(names: list[str]) -> np.ndarray:
    """Returns names as one array of UTF-8 bytes [n]: without an object per name, forked workers share the memory."""
    return np.array([_to_bytes(name) for name in names], dtype=np.bytes_)


def decode_name(name: bytes) -> str:
    """Inverts `encode_names` for one name; bytes that are not UTF-8 return as surrogates."""
    return bytes(name).decode('utf-8', 'surrogateescape')


def is_too_long(name: str) -> bool:
    """Whether a name exceeds MAX_NAME_BYTES."""
    return len(name) > MAX_NAME_BYTES or len(_to_bytes(name)) > MAX_NAME_BYTES


def name_from_disk(path: str) -> str:
    """Returns the name of a path as the operating system's functions return it, which depends on the locale."""
    return decode_name(os.fsencode(path))


def path_on_disk(folder: str, name: str) -> str:
    """Returns the path under which the operating system's functions find a name in a folder."""
    return os.path.join(folder, os.fsdecode(_to_bytes(name)))


def normal_name(name: str) -> str:
    """Returns the form in which names are compared: `/`, no `./`, no `//`, and accents composed with their letters."""
    name = name.replace('\\', '/')
    if './' in name or '//' in name:
        name = posixpath.normpath(name)
    return name if name.isascii() else unicodedata.normalize('NFC', name)


def is_hidden(name: str) -> bool:
    """Whether a file or a folder around it is hidden; macOS writes ._a.png and __MACOSX/."""
    return any(part == '__MACOSX' or (part.startswith('.') and part not in ('.', '..')) for part in name.split('/'))


def is_labels(name: str) -> bool:
    """Whether a file is called dataset.json, in any folder."""
    return name.rsplit('/', 1)[-1] == LABELS_NAME


def summarize_names(names: Iterable[str]) -> str:
    """Returns the first three names and the number of others, for messages: `a, b, c and 4 more`."""
    names = list(names)
    rest = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + rest


def common_folder(names: Sequence[str]) -> str:
    """Returns the innermost folder that holds all names, with a `/` at its end; '' for the root."""
    low, high = min(names, default=''), max(names, default='')  # what these two share is shared by all between them
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[: low.rfind('/', 0, length) + 1]


def labels_root(labels: Iterable[str], names: Sequence[str]) -> str | None:
    """Returns the folder, '' or with a `/` at its end, whose dataset.json has the labels, or None without one.

    Archives are often made of one folder. The outermost folder that holds all images and a dataset.json is the root.

    Args:
        labels: Paths of all files that are called dataset.json.
        names: Paths of all images.
    """
    around = common_folder(names)
    roots = sorted(path.removesuffix(LABELS_NAME) for path in labels)
    return next((root for root in roots if around.startswith(root)), None)


def _to_bytes(name: str) -> bytes:
    """Returns a name as UTF-8; halves of surrogate pairs, which JSON can hold, are kept."""
    try:
        return name.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        return name.encode('utf-8', 'surrogatepass')
