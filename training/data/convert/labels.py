"""Labels of a new data set: their choice, and dataset.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from dnnlib.errors import ConfigError, DataError
from training.data.convert.options import Labels
from training.data.convert.source import PictureSource, SourceLabels
from training.data.labels import are_names, parse_labels, read_content, unseen_classes
from training.data.names import common_folder, normal_name


def choose_labels(source: PictureSource, kind: Labels) -> SourceLabels | None:
    """Returns the labels of all pictures of a source: its own, its top folders, or None.

    Raises DataError when only some pictures have a label, and ConfigError when --labels does not fit the source.
    """
    if kind == 'none':
        return None
    if kind == 'json':
        return source.read_labels()
    return labels_of_folders(source)


def labels_of_folders(source: PictureSource) -> SourceLabels:
    """Returns a class per top folder. If all pictures lie in one top folder, its subfolders are the classes.

    Raises ConfigError for pictures in no folder, and when all lie in the same one.
    """
    names = [normal_name(source.name(index)) for index in range(len(source))]
    around = common_folder(names)
    tops = [name[len(around) :].split('/')[0] if '/' in name[len(around) :] else '' for name in names]
    loose = [name for name, top in zip(names, tops, strict=True) if top in ('', '..')]
    if loose:
        if around and len(loose) == len(names):
            fault = f'all {len(names)} pictures lie in the folder {around}, which would make one class'
        else:
            place = f'no folder below {around}' if around else 'no folder'
            fault = f'{loose[0]} lies in {place} (one of {len(loose)})'
        way_out = 'Every picture must be in the folder of its class; --labels=none omits labels'
        raise ConfigError(f'--labels=folders: {source.path}: {fault}. {way_out}')
    classes = sorted(set(tops))
    numbers = {top: number for number, top in enumerate(classes)}
    note = f'classes: the folders below {around}' if around else ''
    return SourceLabels(values=[numbers[top] for top in tops], classes=classes, note=note)


def labels_of_json(text: bytes, names: list[str], where: str) -> SourceLabels | None:
    """Reads the labels in a dataset.json, and the names of its classes under "classes" if it has them.

    Args:
        text: Contents of the file.
        names: Paths of the pictures inside the source.
        where: Name of the file in messages.

    Returns:
        The labels, or None if the file says "labels": null.

    Raises:
        DataError: The labels or the names of classes do not fit the pictures.
    """
    values = parse_labels(text, names, where)
    if values is None:
        return None
    classes = read_content(text, where).get('classes')
    if values.ndim == 2 or classes is None:
        return SourceLabels(values=values.tolist())
    if not are_names(classes):
        raise DataError(f'{where}: "classes" must be a list of names, one for every class number')
    if len(classes) <= values.max():
        raise DataError(f'{where}: "classes" names {len(classes)} classes, but there is a label {values.max()}')
    return SourceLabels(values=values.tolist(), classes=classes)


def labels_to_json(labels: SourceLabels | None, names: Sequence[str], kept: Sequence[int]) -> bytes:
    """Returns the text of dataset.json.

    Args:
        labels: Labels of all pictures of the source.
        names: Names of the files written.
        kept: Position in the source of each file written.
    """
    if labels is None:
        content: dict[str, object] = {'labels': None}
    else:
        content = {'labels': [[name, labels.values[index]] for name, index in zip(names, kept, strict=True)]}
        if labels.classes:
            content['classes'] = labels.classes
    return (json.dumps(content) + '\n').encode()


def describe_labels(labels: SourceLabels, kept: Sequence[int]) -> list[str]:
    """Returns lines for users: the number of pictures of every named class, or the kind of labels."""
    first = labels.values[kept[0]]
    if isinstance(first, list):
        return [f'labels: vectors of {len(first)} numbers']
    counts: Counter[int] = Counter(labels.values[index] for index in kept)  # type: ignore[misc]  # all are numbers
    lines = [labels.note] if labels.note else []
    if labels.classes:
        lines += [f'class {number}: {name} ({counts[number]})' for number, name in enumerate(labels.classes)]
    else:
        lines += [f'labels: {len(counts)} classes of {min(counts.values())} to {max(counts.values())} pictures']
    return lines + unseen_classes(counts, labels.classes or ())
