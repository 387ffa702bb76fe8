"""All faults of dataset.json, where `labels.parse_labels` stops at the first, and the sizes of classes.

Letters: n images.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dnnlib.errors import DataError
from dnnlib.printable import printable
from training.data.labels import MAX_CLASSES, are_names, is_int, is_num, read_content, short
from training.data.names import LABELS_NAME, normal_name, summarize_names
from training.data.source import ImageSource
from training.data.verify.findings import Findings

UNLABELED = -1


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The facts about the labels of a data set."""

    kind: str = 'none'  # 'none' | 'classes' | 'vectors', by the majority of labels
    width: int = 0  # label_dim
    counts: dict[int, int] = field(default_factory=dict)  # images per class, from class 0 to the largest
    names: dict[int, str] = field(default_factory=dict)  # names of classes, from "classes" in dataset.json
    # Class of each image, [n], UNLABELED if it has none.
    classes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))

    def title(self, number: int) -> str:
        """Returns a class for display: its number, with its name if it has one."""
        return f'{number}: {self.names[number]}' if number in self.names else str(number)


def check_labels(source: ImageSource, findings: Findings) -> LabelSummary:
    """Adds all faults of dataset.json, and returns the facts about the labels. Labels are optional."""
    try:
        text = source.read_labels()
        content = None if text is None else read_content(text, LABELS_NAME)
    except DataError as error:
        findings.add('labels-file', LABELS_NAME, str(error).split(f'{LABELS_NAME}: ', 1)[-1])
        return LabelSummary()
    if content is None or content['labels'] is None:
        return LabelSummary()
    positions = {normal_name(name): index for index, name in enumerate(source.label_names())}
    labels = _assign(content['labels'], positions, findings)
    vectors = sum(isinstance(label, list) for label in labels.values())
    if vectors > len(labels) - vectors:
        return LabelSummary('vectors', _check_vectors(labels, source, findings))
    return _check_classes(labels, content.get('classes'), source, findings)


def _assign(pairs: list[Any], positions: dict[str, int], findings: Findings) -> dict[int, Any]:
    """Returns the label of each image, by position, in JSON.

    Args:
        pairs: Entries of "labels".
        positions: Position of each image by its path, in the form of `normal_name`.
        findings: Findings to extend.
    """
    labels: dict[int, Any] = {}
    missing: set[str] = set()
    for number, pair in enumerate(pairs):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            findings.add('label-entry', LABELS_NAME, f'entry {number} of "labels" is {short(pair)}')
            continue
        name, label = normal_name(pair[0]), pair[1]
        index = positions.get(name)
        if index in labels or name in missing:
            first = f', the first of which is {short(labels[index])}' if index in labels else ''
            findings.add('label-twice', name, f'has more than one label{first}')
        elif index is None:
            missing.add(name)
            findings.add(
                'label-without-image', name, f'has the label {short(label)}, but is not an image that can be opened'
            )
        else:
            labels[index] = label
    for name, index in positions.items():
        if index not in labels:
            findings.add('image-without-label', name, f'is not in {LABELS_NAME}')
    return labels


def _check_vectors(labels: dict[int, Any], source: ImageSource, findings: Findings) -> int:
    """Checks labels of which most are vectors.

    Args:
        labels: Label of each image, by position.
        source: Images of the data set.
        findings: Findings to extend.

    Returns:
        The most frequent length of a vector.
    """
    widths = Counter(len(label) for label in labels.values() if isinstance(label, list))
    width = max(widths, key=lambda width: (widths[width], width))
    for index, label in labels.items():
        name = source.name(index)
        if not isinstance(label, list):
            kind = 'label-mixed' if is_int(label) else 'label-value'
            findings.add(kind, name, f'has the label {short(label)}, most have vectors of {width} numbers')
        elif len(label) != width or width == 0:
            findings.add('label-length', name, f'has a vector of {len(label)} numbers, most have {width}')
        elif not all(map(is_num, label)):
            findings.add('label-value', name, f'has the label {short(label)}, which holds more than numbers')
        elif not all(map(_is_float32, label)):
            findings.add('label-nan', name, f'has the label {short(label)}')
    return width


def _check_classes(labels: dict[int, Any], names: Any, source: ImageSource, findings: Findings) -> LabelSummary:
    """Checks labels of which most are class numbers, and counts the images of each class.

    Args:
        labels: Label of each image, by position.
        names: "classes" in dataset.json, None if absent.
        source: Images of the data set.
        findings: Findings to extend.
    """
    classes = np.full(len(source), UNLABELED, dtype=np.int32)
    for index, label in labels.items():
        name = source.name(index)
        if isinstance(label, list):
            findings.add('label-mixed', name, f'has a vector {short(label)}, most have class numbers')
        elif isinstance(label, float) and not math.isfinite(label):
            findings.add('label-nan', name, f'has the label {short(label)}')
        elif not is_int(label):
            findings.add('label-value', name, f'has the label {short(label)}; expected a class number 0, 1, ...')
        elif not 0 <= label < MAX_CLASSES:
            findings.add('label-value', name, f'has class {short(label)}, outside 0 to {MAX_CLASSES - 1}')
        else:
            classes[index] = label
    filled = Counter(classes[classes != UNLABELED].tolist())
    if not filled:
        return LabelSummary('classes', classes=classes)
    counts = {number: filled[number] for number in range(max(filled) + 1)}
    if len(filled) == 1 and len(source) > 1:
        findings.add('one-class', LABELS_NAME, f'puts all images into class {max(filled)}')
    empty = [str(number) for number in counts if not counts[number]]
    if empty:
        words = f'numbers classes up to {max(filled)}, but some have no image ({len(empty)}): {summarize_names(empty)}'
        findings.add('empty-class', LABELS_NAME, words)
    return LabelSummary('classes', len(counts), counts, _class_names(names, len(counts), findings), classes)


def _class_names(names: Any, num_classes: int, findings: Findings) -> dict[int, str]:
    """Returns the names of classes by number; anything else than a fitting list is a finding.

    Args:
        names: "classes" in dataset.json, None if absent.
        num_classes: Number of classes in the labels.
        findings: Findings to extend.
    """
    if names is None:
        return {}
    if not are_names(names):
        findings.add('class-names', LABELS_NAME, f'"classes" is {short(names)}; expected a list of names')
        return {}
    if len(names) != num_classes:
        findings.add('class-names', LABELS_NAME, f'"classes" has {len(names)} names for {num_classes} classes')
    return {number: printable(name) for number, name in enumerate(names)}


def _is_float32(value: float) -> bool:
    """Whether a JSON number is finite in float32, the type of labels in networks."""
    try:
        return abs(float(value)) <= float(np.finfo(np.float32).max)
    except OverflowError:
        return False
