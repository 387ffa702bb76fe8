"""What can be wrong with a data set: the kinds, how bad each is, and the way out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from dnnlib.errors import DataError

MAX_LISTED = 10_000  # findings of a kind that are kept by name; all are counted

Severity = Literal['defect', 'warning', 'note']

_MAKE_AGAIN = 'make the zip again with dataset_tool.py'
_COPY_AGAIN = 'copy it again from where it came from, or remove it'
_CONVERT = 'python dataset_tool.py --source=DATA --dest=NEW.zip converts it'
_RESIZE = 'python dataset_tool.py --source=DATA --dest=NEW.zip --resolution=WxH --transform=center-crop makes all equal'
_LABELS = 'mend dataset.json: {"labels": [["a.png", 0], ["b.png", 1]]}, every image once'


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding. Only defects make the exit code 1."""

    severity: Severity
    title: str
    remedy: str


KINDS: dict[str, Kind] = {
    'archive': Kind('defect', 'The data set cannot be opened', _COPY_AGAIN),
    'unsafe-path': Kind('defect', 'Path that leads out of the zip', _MAKE_AGAIN),
    'link': Kind('defect', 'Symbolic link in a zip', _MAKE_AGAIN),
    'encrypted': Kind('defect', 'Encrypted', _MAKE_AGAIN),
    'compression': Kind('defect', 'Compression that is neither stored nor deflated', _MAKE_AGAIN),
    'bomb': Kind('defect', 'Zip bomb', _MAKE_AGAIN),
    'too-large': Kind('defect', 'File too large', _CONVERT),
    'overlap': Kind('defect', 'Entries of the zip that share bytes', _MAKE_AGAIN),
    'same-name': Kind('defect', 'Same name twice in the zip', _MAKE_AGAIN),
    'unreadable': Kind('defect', 'Cannot be read', 'look at its permissions and at the disk'),
    'crc': Kind('defect', 'Differs from its CRC in the zip', _COPY_AGAIN),
    'manifest': Kind('defect', 'manifest.json cannot be used', 'remove it, and write another with --write-manifest'),
    'changed': Kind('defect', 'Differs from manifest.json', _COPY_AGAIN),
    'missing': Kind('defect', 'In manifest.json but not in the folder', 'copy it again, or write another manifest'),
    'not-an-image': Kind('defect', 'No image', _COPY_AGAIN),
    'truncated': Kind('defect', 'Cut short', _COPY_AGAIN),
    'damaged': Kind('defect', 'Damaged', _COPY_AGAIN),
    'too-many-pixels': Kind('defect', 'Too many pixels', 'make it smaller'),
    'animation': Kind('defect', 'Animation', 'save the frame that is meant'),
    'palette': Kind('defect', 'Colour palette', _CONVERT),
    'transparent-colour': Kind('defect', 'Transparency by colour', _CONVERT),
    'colour-mode': Kind('defect', 'Colour mode that cannot be trained on', _CONVERT),
    '16-bit-colour': Kind('defect', '16-bit colour in an image file', _CONVERT),
    'array': Kind('defect', 'Array that cannot be used', 'save uint8 or uint16 [H, W, C] with numpy.save'),
    'wrong-size': Kind('defect', 'Another size than most', _RESIZE),
    'wrong-channels': Kind('defect', 'Other channels than most', _CONVERT),
    'wrong-bits': Kind('defect', 'Other bits a channel than most', _CONVERT),
    'untrainable-size': Kind('defect', 'Size that cannot be trained on', _RESIZE),
    'exact-duplicate': Kind('defect', 'Same pixels as another', 'keep one of each group'),
    'labels-file': Kind('defect', 'dataset.json cannot be used', _LABELS),
    'label-entry': Kind('defect', 'Entry of dataset.json that is no ["image.png", label]', _LABELS),
    'label-without-image': Kind('defect', 'Label of a missing image', _LABELS),
    'image-without-label': Kind('defect', 'Image without label', _LABELS),
    'label-twice': Kind('defect', 'Image with more than one label', _LABELS),
    'label-value': Kind('defect', 'Label that is neither a class number nor a vector', _LABELS),
    'label-nan': Kind('defect', 'Label with NaN or infinity', _LABELS),
    'label-length': Kind('defect', 'Label vector of another length than most', _LABELS),
    'label-mixed': Kind('defect', 'Label of another kind than most', _LABELS),
    'empty-class': Kind('warning', 'Class without images', 'number the classes 0, 1, 2, ... without gaps'),
    'one-class': Kind('warning', 'All images in one class', 'train without --cond'),
    'class-names': Kind('warning', 'Names of classes that do not fit', 'give "classes" one name for each class'),
    'near-duplicate': Kind('warning', 'Looks like another', 'look at the groups in report.html and keep what is meant'),
    'flipped-duplicate': Kind('warning', 'Mirror image of another', 'keep one of each group, and train with --mirror'),
    'flat': Kind('warning', 'One colour all over', 'remove it unless it is meant'),
    'rotated': Kind('warning', 'EXIF rotation, which training does not apply', _CONVERT),
    'unlisted': Kind('warning', 'Not in manifest.json', 'add it with --write-manifest'),
    'some-candidates': Kind('warning', 'Too many look-alikes to compare all', 'lower --near'),
    'no-manifest': Kind('note', 'Damage in a JPEG mostly goes unseen', '--write-manifest records what is there'),
    'hidden': Kind('note', 'Hidden file, passed over', 'remove it if it is not meant'),
    'other-file': Kind('note', 'No image by its name, passed over', 'remove it if it is not meant'),
    'linked-folder': Kind('note', 'Link to a folder, not followed', 'give the folder itself'),
    'sample': Kind('note', 'Not all images were looked at', 'leave out --max-images'),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one file. name: its path in the data set, or the data set's; both safe to print."""

    kind: str
    name: str
    message: str


@dataclass
class Findings:
    """Findings by kind, in the order of `KINDS` whatever the order they were added in."""

    counts: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[Finding]] = field(default_factory=dict)

    def add(self, kind: str, name: str, message: str) -> None:
        """Records one; keeps its words while there are fewer than MAX_LISTED of its kind."""
        assert kind in KINDS
        self.counts[kind] += 1
        kept = self.listed.setdefault(kind, [])
        if len(kept) < MAX_LISTED:
            kept.append(Finding(kind, printable(name), printable(message)))

    def kinds(self) -> list[str]:
        """Kinds that occur, defects first."""
        return [kind for kind in KINDS if kind in self.counts]

    def number(self, severity: Severity) -> int:
        """How many findings are that bad."""
        return sum(count for kind, count in self.counts.items() if KINDS[kind].severity == severity)


def printable(text: str) -> str:
    """Text without control characters, line breaks and bytes that are no UTF-8: they are shown as Python escapes."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode('ascii') for c in text)


def words_of(error: DataError, where: str) -> str:
    """An error's message without the file that it begins with."""
    return str(error).removeprefix(f'{where}: ')
