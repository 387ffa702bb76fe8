"""Listing of a source: its images, its dataset.json, and what is passed over."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dnnlib.errors import DataError
from training.data.names import LABELS_NAME, is_hidden, is_labels, is_too_long, labels_root, name_from_disk, normal_name
from training.data.passed_over import PassedOver
from training.data.zip_index import LONG_NAME, entry_faults, entry_name, read_index

MANIFEST_NAME = 'manifest.json'


@dataclass(kw_only=True, slots=True)
class Listing:
    """The files of a source by their use."""

    extensions: tuple[str, ...]  # endings of images: lower case, with the dot
    images: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)  # all files that are called dataset.json
    passed_over: PassedOver = field(default_factory=PassedOver)

    def wants(self, name: str) -> bool:
        """Whether a file is an image or a dataset.json by its name, and is not hidden."""
        return (is_labels(name) or name.lower().endswith(self.extensions)) and not is_hidden(name)

    def add(self, name: str) -> bool:
        """Adds a file. Returns whether it may be read, see `wants`."""
        if self.wants(name):
            (self.labels if is_labels(name) else self.images).append(name)
            return True
        if name != MANIFEST_NAME and not is_hidden(name):
            self.passed_over.add_file(name)
        return False

    def add_special(self, kind: str, name: str) -> None:
        """Adds something else than a file, by its kind in `PassedOver.add`."""
        if not is_hidden(name):
            self.passed_over.add(kind, name)

    def root(self) -> str | None:
        """Returns the folder of the dataset.json in use, see `labels_root`; the others count as passed over."""
        root = labels_root(self.labels, self.images)
        for name in self.labels:
            if root is None or name != root + LABELS_NAME:
                self.passed_over.add('labels', name)
        return root


def walk_folder(path: str, unreadable: Callable[[OSError], None]) -> Iterator[tuple[str, str]]:
    """Yields kind ('file', 'linked folder' or 'special') and name of everything in a folder and its subfolders.

    A link to a file is a file, also if the file is absent: reading it names it.

    Args:
        path: The folder.
        unreadable: Callback that receives the error of a folder that cannot be listed.
    """
    pending = [(path, '')]
    while pending:
        folder, prefix = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            unreadable(error)
            continue
        for entry in found:
            name = prefix + name_from_disk(entry.name)
            kind = _kind(entry)
            if kind == 'folder':
                pending.append((entry.path, f'{name}/'))
            else:
                yield kind, name


def _kind(entry: os.DirEntry[str]) -> str:
    """Returns the kind of a directory entry, without reading its status where the directory has the type."""
    try:
        if entry.is_dir():
            return 'linked folder' if entry.is_symlink() else 'folder'
        is_special = not entry.is_file() and os.path.exists(entry.path)
    except OSError:  # such as a link that leads to itself
        return 'file'
    return 'special' if is_special else 'file'


def list_folder(path: str, extensions: tuple[str, ...]) -> Listing:
    """Lists a folder and its subfolders; links to folders are not followed. Raises DataError if one is unreadable."""
    listing = Listing(extensions=extensions)
    for kind, name in walk_folder(path, _raise_unreadable):
        if kind != 'file':
            listing.add_special(kind, name)
        elif listing.add(name) and is_too_long(name):
            raise DataError(f'{path}: {name[:80]}...: {LONG_NAME}; rename it')
    return listing


def list_zip(path: str, extensions: tuple[str, ...]) -> tuple[Listing, dict[str, zipfile.ZipInfo]]:
    """Lists a zip, and returns the entries of its images and of every dataset.json. Raises at the first unsafe one."""
    listing = Listing(extensions=extensions)
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    index = read_index(path)
    for info in index.entries:
        name = entry_name(info)
        if name.endswith('/') or not listing.add(name):
            continue
        for _, fault in entry_faults(info, index.file_bytes):
            raise DataError(f'{path}: {name[:80]}: {fault}; make the zip again with dataset_tool.py')
        if normal_name(name) in seen:
            raise DataError(f'{path}: {name}: is in the zip more than once; make the zip again')
        seen.add(normal_name(name))
        entries[name] = info
    return listing, entries


def _raise_unreadable(error: OSError) -> None:
    """Raises the DataError of a folder that cannot be listed."""
    raise DataError(f'{error.filename}: cannot be listed ({error.strerror})') from error
