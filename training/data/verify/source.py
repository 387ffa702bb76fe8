"""Opening of a folder or a zip despite its faults: each is a finding, and the rest can be read safely.

`training.data.source.open_source` raises at the first unsafe entry of a zip. Here the index entry of every file is
checked; faulty ones are never opened, nothing is extracted, and no entry is decompressed beyond its declared size.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

from dnnlib.errors import DataError
from training.data.source import (
    LABELS_NAME,
    LOCAL_HEADER_BYTES,
    MAX_FILE_BYTES,
    TOO_LARGE,
    FolderSource,
    ImageSource,
    ZipSource,
    entry_faults,
    entry_name,
    is_folder,
    is_image,
    read_index,
)
from training.data.stored_image import STORED_EXTENSIONS
from training.data.verify.findings import Findings, words_of

MANIFEST_NAME = 'manifest.json'


def scan(path: str, findings: Findings) -> ImageSource | None:
    """Returns the images that can be read safely, or None if the data set cannot be opened.

    The faults of the folder or the zip itself become findings. Raises DataError when the path does not exist.
    """
    source: ImageSource
    if is_folder(path):
        source = FolderSource(path, _scan_folder(path, findings))
    else:
        try:
            index = read_index(path)
        except DataError as error:
            findings.add('archive', path, words_of(error, path))
            return None
        source = ZipSource(path, _scan_zip(index, findings))
    if len(source) == 0:
        findings.add('archive', path, f'holds no images that can be read; expected {" ".join(STORED_EXTENSIONS)}')
    return source


def _scan_zip(index: list[zipfile.ZipInfo], findings: Findings) -> dict[str, zipfile.ZipInfo]:
    """Returns the entries without fault, by name."""
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    end, last = 0, ''
    for info in sorted(index, key=lambda info: info.header_offset):
        name = entry_name(info)
        faults = list(entry_faults(info))
        if name in seen:
            faults.append(('same-name', 'is in the zip more than once; only the first is checked'))
        if info.header_offset < end:
            faults.append(('overlap', f'shares bytes with {last}, as zip bombs do'))
        seen.add(name)
        end, last = max(end, info.header_offset + LOCAL_HEADER_BYTES + info.compress_size), name
        for kind, words in faults:
            findings.add(kind, name, words)
        if not faults and not name.endswith('/') and _is_wanted(name, findings):
            entries[name] = info
    return entries


def _scan_folder(path: str, findings: Findings) -> list[str]:
    """Lists the readable images in a folder and its subfolders, in the order of the walk."""
    names = []

    def unreadable(error: OSError) -> None:
        """Records a folder that cannot be listed."""
        findings.add('unreadable', os.path.relpath(error.filename, path), f'cannot be listed ({error.strerror})')

    for folder, subfolders, files in os.walk(path, onerror=unreadable):
        inside = Path(folder).relative_to(path)
        for name in sorted(subfolders):
            if os.path.islink(os.path.join(folder, name)):
                findings.add('linked-folder', (inside / name).as_posix(), 'is a link to a folder')
        for file in sorted(files):
            name = (inside / file).as_posix()
            if name != MANIFEST_NAME and _is_wanted(name, findings) and _is_file(path, name, findings):
                names.append(name)
    return [name for name in names if name != LABELS_NAME]


def _is_wanted(name: str, findings: Findings) -> bool:
    """Whether a path is an image or dataset.json; other files become notes."""
    if name == LABELS_NAME or is_image(name, STORED_EXTENSIONS):
        return True
    hidden = any(part.startswith('.') or part == '__MACOSX' for part in name.split('/'))
    findings.add('hidden' if hidden else 'other-file', name, 'is ignored')
    return False


def _is_file(path: str, name: str, findings: Findings) -> bool:
    """Whether a path is a readable regular file, or a link to one, of a permitted size.

    Args:
        path: The folder.
        name: Path of the file in the folder.
        findings: Findings to extend.
    """
    try:
        status = os.stat(os.path.join(path, name))
    except OSError as error:
        findings.add('unreadable', name, f'cannot be read ({error.strerror})')
        return False
    if not stat.S_ISREG(status.st_mode):
        findings.add('unreadable', name, 'is not a regular file')
        return False
    if status.st_size > MAX_FILE_BYTES:
        findings.add('too-large', name, TOO_LARGE)
        return False
    return True
