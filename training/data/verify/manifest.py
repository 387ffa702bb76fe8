"""manifest.json: size and sha256 of every file of a data folder, which unlike a zip has no CRCs.

    {"version": 1, "files": {"00000/img00000000.png": {"size": 2572, "sha256": "..."}, ...}}

Most flipped bits in a JPEG decode without an error, so that only a manifest, or a zip, reveals them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from dnnlib.files import write_bytes
from dnnlib.records import parse_json
from dnnlib.regular_file import read_regular
from training.data.labels import LIMITS
from training.data.listing import MANIFEST_NAME
from training.data.names import LABELS_NAME, path_on_disk
from training.data.source import FolderSource, ImageSource
from training.data.verify.findings import Findings
from training.data.verify.image import ImageSummary

MANIFEST_VERSION = 1


class Manifest:
    """The comparison of a folder with its manifest, and the content of the next manifest.

    `wanted` says whether files must be hashed, because there is a manifest or one will be written.
    """

    def __init__(self, source: ImageSource, write: bool, findings: Findings) -> None:
        """Reads the manifest of the folder.

        Args:
            source: Images of the data set.
            write: Whether to write a manifest if there are no defects.
            findings: Findings to extend.

        Raises:
            ConfigError: `write` is set for a zip.
        """
        self._folder = source.path if isinstance(source, FolderSource) else None
        if write and self._folder is None:
            raise ConfigError('--write-manifest is for folders; a zip has the CRC of every entry')
        self._findings = findings
        self._expected = None if self._folder is None else _read(self._folder, findings)
        self._found: dict[str, dict[str, Any]] = {}
        self._write = write
        self.wanted = write or self._expected is not None

    def add(self, name: str, summary: ImageSummary) -> None:
        """Compares an image with the manifest."""
        if summary.file_digest:
            self._add(name, summary.file_bytes, summary.file_digest.hex())

    def finish(self, source: ImageSource) -> None:
        """Checks dataset.json and missing files; without defects, writes the manifest if it was requested."""
        if not self.wanted or self._folder is None:
            return
        data = source.read_labels()
        if data is not None:
            self._add(source.labels_root + LABELS_NAME, len(data), hashlib.sha256(data).hexdigest())
        for name in self._expected or {}:
            if not os.path.lexists(path_on_disk(self._folder, name)):
                self._findings.add('missing', name, f'is in {MANIFEST_NAME}, but not there')
        if self._write and not self._findings.number('defect'):
            text = json.dumps({'version': MANIFEST_VERSION, 'files': self._found}, indent=1)
            try:
                write_bytes(Path(self._folder) / MANIFEST_NAME, (text + '\n').encode())
            except OSError as error:
                raise ConfigError(f'--write-manifest: {self._folder} cannot be written ({error.strerror})') from error

    def _add(self, name: str, size: int, sha256: str) -> None:
        """Compares a file with the manifest.

        Args:
            name: Path of the file in the folder.
            size: Size of the file in bytes.
            sha256: Digest of the file, in hex.
        """
        self._found[name] = {'size': size, 'sha256': sha256}
        if self._expected is None:
            return
        entry = self._expected.get(name)
        if entry is None:
            self._findings.add('unlisted', name, f'is not in {MANIFEST_NAME}')
        elif entry['size'] != size:
            self._findings.add('changed', name, f'has {size} bytes; {MANIFEST_NAME} says {entry["size"]}')
        elif entry['sha256'] != sha256:
            self._findings.add('changed', name, f'has another sha256 than {MANIFEST_NAME} says')


def _read(folder: str, findings: Findings) -> dict[str, dict[str, Any]] | None:
    """Returns the files of a manifest, or None if there is no usable one."""
    path = Path(folder) / MANIFEST_NAME
    if not os.path.lexists(path):
        return None
    try:
        content = parse_json(read_regular(path, LIMITS.file_bytes), MANIFEST_NAME, LIMITS)
        if content['version'] != MANIFEST_VERSION:
            raise ValueError(f'version {content["version"]}, expected {MANIFEST_VERSION}')
        files: dict[str, dict[str, Any]] = content['files']
        if not all(isinstance(entry['size'], int) and isinstance(entry['sha256'], str) for entry in files.values()):
            raise ValueError('a size is not a number, or a sha256 is not text')
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        findings.add('manifest', MANIFEST_NAME, f'cannot be used ({error})')
        return None
    return files
