"""Kinds of faults of a data set, with their severity and remedy, and the list of findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from dnnlib.errors import DataError
from dnnlib.printable import printable

MAX_LISTED = 10_000  # findings per kind that are kept by name; all are counted

Severity = Literal['defect', 'warning', 'note']

_MAKE_AGAIN = 'make the zip again with dataset_tool.py'
_COPY_AGAIN = 'copy it again from where it came from, or remove it'
_CONVERT = 'python dataset_tool.py --source=DATA --dest=NEW.zip converts it'
_RESIZE = 'python dataset_tool.py --source=DATA --dest=NEW.zip --resolution=WxH --transform=center-crop makes all equal'
_LABELS = 'repair dataset.json: {"labels": [["a.png", 0], ["b.png", 1]]}, every image once'


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A kind of finding. Only defects make the exit code 1."""

    severity: Severity
    title: str
    remedy: str


KINDS: dict[str, FindingKind] = {
    'archive': FindingKind('defect', 'The data set cannot be opened', _COPY_AGAIN),
    'unsafe-path': FindingKind('defect', 'Path that leads out of the zip', _MAKE_AGAIN),
    'link': FindingKind('defect', 'Symbolic link in a zip', _MAKE_AGAIN),
    'encrypted': FindingKind('defect', 'Encrypted', _MAKE_AGAIN),
    'compression': FindingKind('defect', 'Compression that is neither stored nor deflated', _MAKE_AGAIN),
    'bomb': FindingKind('defect', 'Zip bomb', _MAKE_AGAIN),
    'too-large': FindingKind('defect', 'File too large', _CONVERT),
    'outside': FindingKind('defect', 'Entry that is not within the zip', _COPY_AGAIN),
    'overlap': FindingKind('defect', 'Entries of the zip that share bytes', _MAKE_AGAIN),
    'same-name': FindingKind('defect', 'Same name twice in the zip', _MAKE_AGAIN),
    'unreadable': FindingKind('defect', 'Cannot be read', 'look at its permissions and at the disk'),
    'crc': FindingKind('defect', 'Differs from its CRC in the zip', _COPY_AGAIN),
    'manifest': FindingKind(
        'defect', 'manifest.json cannot be used', 'remove it, and write another with --write-manifest'
    ),
    'changed': FindingKind('defect', 'Differs from manifest.json', _COPY_AGAIN),
    'missing': FindingKind(
        'defect', 'In manifest.json but not in the folder', 'copy it again, or write another manifest'
    ),
    'not-an-image': FindingKind('defect', 'Not an image', _COPY_AGAIN),
    'truncated': FindingKind('defect', 'Cut short', _COPY_AGAIN),
    'damaged': FindingKind('defect', 'Damaged', _COPY_AGAIN),
    'too-many-pixels': FindingKind('defect', 'Too many pixels', 'make it smaller'),
    'animation': FindingKind('defect', 'Animation', 'save one frame as an image'),
    'palette': FindingKind('defect', 'Color palette', _CONVERT),
    'transparent-colour': FindingKind('defect', 'Transparency by color', _CONVERT),
    'colour-mode': FindingKind('defect', 'Color mode that cannot be trained on', _CONVERT),
    '16-bit-colour': FindingKind('defect', '16-bit color in an image file', _CONVERT),
    'array': FindingKind('defect', 'Array that cannot be used', 'save uint8 or uint16 [H, W, C] with numpy.save'),
    'wrong-size': FindingKind('defect', 'Another size than most', _RESIZE),
    'wrong-channels': FindingKind('defect', 'Other channels than most', _CONVERT),
    'wrong-bits': FindingKind('defect', 'Other bits per channel than most', _CONVERT),
    'untrainable-size': FindingKind('defect', 'Size that cannot be trained on', _RESIZE),
    'labels-file': FindingKind('defect', 'dataset.json cannot be used', _LABELS),
    'label-entry': FindingKind('defect', 'Entry of dataset.json that is not ["image.png", label]', _LABELS),
    'label-without-image': FindingKind('defect', 'Label of a missing image', _LABELS),
    'image-without-label': FindingKind('defect', 'Image without label', _LABELS),
    'label-twice': FindingKind('defect', 'Image with more than one label', _LABELS),
    'label-value': FindingKind('defect', 'Label that is neither a class number nor a vector', _LABELS),
    'label-nan': FindingKind('defect', 'Label with NaN or infinity', _LABELS),
    'label-length': FindingKind('defect', 'Label vector of another length than most', _LABELS),
    'label-mixed': FindingKind('defect', 'Label of another kind than most', _LABELS),
    'empty-class': FindingKind('warning', 'Class without images', 'number the classes 0, 1, 2, ... without gaps'),
    'one-class': FindingKind('warning', 'All images in one class', 'train without --cond'),
    'class-names': FindingKind('warning', 'Names of classes that do not fit', 'give "classes" one name for each class'),
    'other-labels': FindingKind(
        'warning', 'dataset.json that is not at the root', 'move it to the folder of all images'
    ),
    'exact-duplicate': FindingKind(
        'warning', 'Same pixels as another', 'python dataset_tool.py --source=DATA --dest=NEW.zip --drop-duplicates'
    ),
    'near-duplicate': FindingKind(
        'warning', 'Looks like another', 'check the groups in report.html and keep the intended images'
    ),
    'flipped-duplicate': FindingKind(
        'warning', 'Mirror image of another', 'keep one of each group, and train with --mirror'
    ),
    'flat': FindingKind('warning', 'A single color', 'remove it unless it is intended'),
    'rotated': FindingKind('warning', 'EXIF rotation, which training does not apply', _CONVERT),
    'unlisted': FindingKind('warning', 'Not in manifest.json', 'add it with --write-manifest'),
    'some-candidates': FindingKind('warning', 'Too many look-alikes to compare all', 'lower --near'),
    'no-manifest': FindingKind('note', 'Damage in a JPEG mostly goes unseen', '--write-manifest records the files'),
    'hidden': FindingKind('note', 'Hidden file, ignored', 'remove it if it is not intended'),
    'other-file': FindingKind('note', 'Not an image by its name, ignored', 'remove it if it is not intended'),
    'linked-folder': FindingKind('note', 'Link to a folder, not followed', 'give the folder itself'),
    'small-set': FindingKind('note', 'Fewer images than --max-images', 'leave out --max-images'),
    'sample': FindingKind('note', 'Not all images were checked', 'leave out --max-images'),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of one file. `name` is its path in the data set, or that of the data set; both are safe to print."""

    kind: str
    name: str
    message: str
    other: str = ''  # path of the image that it is compared with


@dataclass
class Findings:
    """Findings by kind, in the order of `KINDS`, whatever the order of adding."""

    counts: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, kind: str, name: str, message: str, other: str = '') -> None:
        """Counts a finding, and keeps its text while there are fewer than MAX_LISTED of its kind.

        Args:
            kind: Key of `KINDS`.
            name: Path of the file.
            message: Predicate of a sentence about the file.
            other: Path of the image that the file is compared with.
        """
        assert kind in KINDS
        self.counts[kind] += 1
        kept = self.listed.setdefault(kind, [])
        if len(kept) < MAX_LISTED:
            kept.append(Finding(kind, printable(name), printable(message), printable(other)))

    def kinds(self) -> list[str]:
        """Returns the kinds that occur, defects first."""
        return [kind for kind in KINDS if kind in self.counts]

    def number(self, severity: Severity) -> int:
        """Returns the number of findings of a severity."""
        return sum(count for kind, count in self.counts.items() if KINDS[kind].severity == severity)


def words_of(error: DataError, where: str) -> str:
    """Returns the message of an error without the name of the file at its beginning."""
    return str(error).removeprefix(f'{where}: ')
