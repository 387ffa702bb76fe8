"""Labels of a data set: `dataset.json`, one class number or one vector per image.

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 2], ...]}

Either all labels are class numbers 0, 1, ..., or all are lists of numbers of the same length. "classes" may name the
classes, or the numbers of the lists, in order. Other keys are ignored.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from dnnlib.errors import DataError, RecordError
from dnnlib.records import Limits, parse_json
from training.data.names import normal_name, summarize_names

# Limits of dataset.json and manifest.json. Numbers that no float32 holds are named with their image.
LIMITS = Limits(file_bytes=2**28, entries=2**27, number_chars=1024, finite=False)
MAX_CLASSES = 2**16  # a stray large number would otherwise require a one-hot vector of that width


def parse_labels(text: bytes, names: list[str], where: str) -> np.ndarray | None:
    """Returns the labels of some images, in their order.

    Args:
        text: Contents of dataset.json.
        names: Paths of the images inside the source.
        where: Name of the file in messages.

    Returns:
        Class numbers int64 [n], vectors float32 [n, label_dim], or None if the file says "labels": null.

    Raises:
        DataError: An image without exactly one label, or a label without an image.
    """
    pairs = read_content(text, where)['labels']
    if pairs is None:
        return None
    by_name = _by_name(pairs, where)
    keys = [normal_name(name) for name in names]
    missing = [name for name, key in zip(names, keys, strict=True) if key not in by_name]
    extra = sorted(set(by_name) - set(keys))
    if missing or extra:
        raise DataError(f'{where}: {_unmatched(missing, extra, len(names))}')
    labels = [by_name[key] for key in keys]
    if all(is_int(label) for label in labels):
        return _classes(labels, names, where)
    if all(isinstance(label, list) for label in labels):
        return _vectors(labels, names, where)
    raise DataError(f'{where}: {_mixed(labels, names)}')


def class_names(text: bytes, where: str, label_dim: int) -> tuple[str, ...]:
    """Returns the names of the classes in a dataset.json, none unless it names all of them.

    Args:
        text: Contents of dataset.json.
        where: Name of the file in messages.
        label_dim: Number of classes.
    """
    names = read_content(text, where).get('classes')
    return tuple(names[:label_dim]) if are_names(names) and len(names) >= label_dim else ()


def label_width(labels: np.ndarray) -> int:
    """Returns label_dim of labels from `parse_labels`: the largest class plus one, or the length of the vectors."""
    return int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[1]


def to_vectors(labels: np.ndarray, label_dim: int) -> np.ndarray:
    """Returns the labels as networks take them, float32 [n, label_dim]: classes one-hot, vectors unchanged."""
    if labels.ndim == 2:
        return labels.copy()
    onehot = np.zeros([len(labels), label_dim], dtype=np.float32)
    onehot[np.arange(len(labels)), labels] = 1
    return onehot


def unseen_classes(counts: Mapping[int, int], names: Sequence[str] = ()) -> list[str]:
    """Returns lines for users about classes that no image has, and about a single class.

    Args:
        counts: Number of images per class.
        names: Names of the classes, if they are known.
    """
    lines = []
    size = max([*counts, len(names) - 1]) + 1
    empty = [names[k] if k < len(names) else str(k) for k in range(size) if not counts.get(k)]
    if empty:
        lines.append(f'classes without an image ({len(empty)}): {summarize_names(empty)}')
    if sum(count > 0 for count in counts.values()) == 1:
        lines.append(f'all images are in class {next(iter(counts))}; training with labels needs two classes or more')
    return lines


def read_content(text: bytes, where: str) -> dict[str, Any]:
    """Returns the contents of dataset.json, in which "labels" is a list or None. Raises DataError for anything else."""
    try:
        content = parse_json(text, where, LIMITS)
    except RecordError as error:
        raise DataError(str(error)) from None
    if not isinstance(content, dict) or 'labels' not in content:
        raise DataError(f'{where}: has no "labels"; expected {{"labels": [["a.png", 0], ["b.png", 1]]}}')
    pairs = content['labels']
    if pairs is not None and not isinstance(pairs, list):
        kind = type(pairs).__name__
        raise DataError(f'{where}: "labels" is a {kind}; expected a list [["a.png", 0], ["b.png", 1]] or null')
    return content


def _by_name(pairs: list[Any], where: str) -> dict[str, Any]:
    """Returns a table from the path of an image, in the form of `normal_name`, to its label in JSON."""
    by_name: dict[str, Any] = {}
    twice = []
    for number, pair in enumerate(pairs):
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DataError(f'{where}: entry {number} of "labels" is {short(pair)}; expected ["image.png", label]')
        name = normal_name(pair[0])
        if name in by_name:
            twice.append(name)
        by_name[name] = pair[1]
    if twice:
        raise DataError(f'{where}: images with more than one label ({len(twice)}): {summarize_names(twice)}')
    return by_name


def _unmatched(missing: list[str], extra: list[str], num_images: int) -> str:
    """Describes names of one side that are not on the other.

    Args:
        missing: Images without a label.
        extra: Names of dataset.json without an image.
        num_images: Number of images.
    """
    parts = []
    if missing:
        parts.append(f'images without a label ({len(missing)} of {num_images}): {summarize_names(missing)}')
    if extra:
        parts.append(f'labels for images that are not there ({len(extra)}): {summarize_names(extra)}')
    stems = {posixpath.splitext(normal_name(name))[0] for name in missing}
    if any(posixpath.splitext(name)[0] in stems for name in extra):
        parts.append('their endings differ: write the names of the images into dataset.json')
    return '; '.join(parts)


def _classes(labels: list[int], names: list[str], where: str) -> np.ndarray:
    """Checks class numbers and returns them as int64 [n].

    Args:
        labels: Whole numbers, [n].
        names: Paths of the images, [n].
        where: Name of the file in messages.
    """
    wrong = [f'{name} ({label})' for name, label in zip(names, labels, strict=True) if not 0 <= label < MAX_CLASSES]
    if wrong:
        raise DataError(
            f'{where}: class numbers outside 0 to {MAX_CLASSES - 1} ({len(wrong)}): {summarize_names(wrong)}'
        )
    return np.array(labels, dtype=np.int64)


def _vectors(labels: list[list[Any]], names: list[str], where: str) -> np.ndarray:
    """Checks label vectors and returns them as float32 [n, label_dim].

    Args:
        labels: Lists of JSON values, [n].
        names: Paths of the images, [n].
        where: Name of the file in messages.
    """
    width = len(labels[0])
    wrong = [f'{name} ({len(label)})' for name, label in zip(names, labels, strict=True) if len(label) != width]
    if wrong:
        message = f'{where}: label vectors differ in length: {names[0]} has {width} numbers, not so ({len(wrong)})'
        raise DataError(f'{message}: {summarize_names(wrong)}')
    if width == 0:
        raise DataError(f'{where}: label vectors are empty lists; expected at least one number each')
    wrong = [f'{name} {short(label)}' for name, label in zip(names, labels, strict=True) if not all(map(is_num, label))]
    if wrong:
        raise DataError(
            f'{where}: label vectors that hold something other than numbers ({len(wrong)}): {summarize_names(wrong)}'
        )
    try:
        with np.errstate(over='ignore'):
            vectors = np.array(labels, dtype=np.float64).astype(np.float32)
    except OverflowError as error:
        raise DataError(f'{where}: a label vector holds a number too large for float32') from error
    wrong = [f'{names[i]} {short(labels[i])}' for i in np.flatnonzero(~np.isfinite(vectors).all(axis=1))]
    if wrong:
        raise DataError(f'{where}: label vectors with NaN or infinity ({len(wrong)}): {summarize_names(wrong)}')
    return vectors


def _mixed(labels: list[Any], names: list[str]) -> str:
    """Describes labels that are neither all classes nor all vectors."""
    wrong = [
        f'{name} ({short(label)})'
        for name, label in zip(names, labels, strict=True)
        if not is_int(label) and not isinstance(label, list)
    ]
    if wrong:
        expected = 'a label is a class number (0, 1, ...) or a list of numbers'
        return f'{expected}; neither ({len(wrong)}): {summarize_names(wrong)}'
    vectors = [name for name, label in zip(names, labels, strict=True) if isinstance(label, list)]
    count = f'{len(vectors)} of {len(labels)}'
    return f'labels are of two kinds, class numbers and vectors; with vectors ({count}): {summarize_names(vectors)}'


def is_int(value: Any) -> bool:
    """Whether a JSON value is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_num(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def are_names(value: Any) -> TypeGuard[list[str]]:
    """Whether a JSON value is a list of names, as "classes" should be."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def short(value: Any) -> str:
    """Returns a JSON value for messages, at most 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + '...'
