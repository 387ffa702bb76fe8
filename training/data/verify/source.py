"""Opening of a folder or a zip despite its faults: each is a finding, and the rest can be read safely.

`training.data.source.open_source` raises at the first unsafe entry of a zip. Here the index entry of every file is
checked; faulty ones are never opened, nothing is extracted, and no entry is decompressed beyond its declared size.
"""

from __future__ import annotations

import os
import zipfile

from dnnlib.errors import DataError
from training.data.listing import MANIFEST_NAME, Listing, walk_folder
from training.data.names import LABELS_NAME, is_hidden, is_too_long, normal_name, path_on_disk
from training.data.source import FolderSource, ImageSource, ZipSource, is_folder
from training.data.stored_image import STORED_EXTENSIONS
from training.data.verify.findings import Findings, words_of
from training.data.zip_index import (
    LOCAL_HEADER_BYTES,
    LONG_NAME,
    MAX_FILE_BYTES,
    TOO_LARGE,
    ZipIndex,
    entry_faults,
    entry_name,
    read_index,
)


def scan(path: str, findings: Findings) -> ImageSource | None:
    """Returns the images that can be read safely, or None if the data set cannot be opened.

    The faults of the folder or the zip itself become findings. Raises DataError when the path does not exist.
    """
    source: ImageSource
    listing = Listing(extensions=STORED_EXTENSIONS)
    if is_folder(path):
        _scan_folder(path, listing, findings)
        source = FolderSource(path, listing.images, listing.passed_over, listing.root())
    else:
        try:
            index = read_index(path)
        except DataError as error:
            findings.add('archive', path, words_of(error, path))
            return None
        source = ZipSource(path, _scan_zip(index, listing, findings), listing.passed_over, listing.root())
    if len(source) == 0:
        findings.add('archive', path, f'holds no images that can be read; expected {" ".join(STORED_EXTENSIONS)}')
    for name in listing.labels:
        if name != source.labels_root + LABELS_NAME:
            findings.add('other-labels', name, 'is in a folder that does not hold all images, and is ignored')
    return source


def _scan_zip(index: ZipIndex, listing: Listing, findings: Findings) -> dict[str, zipfile.ZipInfo]:
    """Returns the entries without fault, by name.

    Args:
        index: Index of the zip.
        listing: Listing to extend.
        findings: Findings to extend.
    """
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    end, last = 0, ''
    for info in sorted(index.entries, key=lambda info: info.header_offset):
        name = entry_name(info)
        faults = list(entry_faults(info, index.file_bytes))
        key = normal_name(name)
        if key in seen:
            faults.append(('same-name', 'is in the zip more than once; only the first is checked'))
        if info.header_offset < end:
            faults.append(('overlap', f'shares bytes with {last}, as zip bombs do'))
        seen.add(key)
        end, last = max(end, info.header_offset + LOCAL_HEADER_BYTES + info.compress_size), name
        for kind, words in faults:
            findings.add(kind, name, words)
        if not faults and not name.endswith('/') and _is_wanted(name, listing, findings):
            entries[name] = info
    return entries


def _scan_folder(path: str, listing: Listing, findings: Findings) -> None:
    """Lists the readable images in a folder and its subfolders.

    Args:
        path: The folder.
        listing: Listing to extend.
        findings: Findings to extend.
    """

    def unreadable(error: OSError) -> None:
        """Records a folder that cannot be listed."""
        findings.add('unreadable', os.path.relpath(error.filename, path), f'cannot be listed ({error.strerror})')

    for kind, name in walk_folder(path, unreadable):
        if kind != 'file':
            listing.add_special(kind, name)
        if kind == 'linked folder':
            findings.add('linked-folder', name, 'is a link to a folder')
        elif kind == 'special' and listing.wants(name):
            findings.add('unreadable', name, 'is not a regular file')
        elif kind == 'special':
            _add_note(name, findings)
        elif name != MANIFEST_NAME and (not listing.wants(name) or _is_readable(path, name, findings)):
            _is_wanted(name, listing, findings)


def _is_wanted(name: str, listing: Listing, findings: Findings) -> bool:
    """Adds a file to the listing. Returns whether it is an image or a dataset.json; others become notes.

    Args:
        name: Path of the file.
        listing: Listing to extend.
        findings: Findings to extend.
    """
    if not listing.add(name):
        _add_note(name, findings)
        return False
    return True


def _add_note(name: str, findings: Findings) -> None:
    """Adds the note of a file that is neither an image nor a dataset.json."""
    findings.add('hidden' if is_hidden(name) else 'other-file', name, 'is ignored')


def _is_readable(path: str, name: str, findings: Findings) -> bool:
    """Whether a file can be read: it exists, and its size and its name are permitted.

    Args:
        path: The folder.
        name: Path of the file in the folder.
        findings: Findings to extend.
    """
    if is_too_long(name):
        findings.add('unreadable', name, LONG_NAME)
        return False
    try:
        status = os.stat(path_on_disk(path, name))
    except OSError as error:
        findings.add('unreadable', name, f'cannot be read ({error.strerror})')
        return False
    if status.st_size > MAX_FILE_BYTES:
        findings.add('too-large', name, TOO_LARGE)
        return False
    return True
