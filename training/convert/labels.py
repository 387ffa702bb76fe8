"""The labels of a new data set: which ones are taken, and dataset.json."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dnnlib.errors import ConfigError
from training.convert.options import Labels
from training.convert.sources import PictureSource, SourceLabels
from training.image_source import some


def choose_labels(source: PictureSource, kind: Labels) -> SourceLabels | None:
    """The labels of all pictures of a source: those that it brings, its top folders, or None.

    Raises DataError when only some pictures have one, ConfigError when --labels cannot be done.
    """
    if kind == 'none':
        return None
    if kind == 'json':
        return source.read_labels()
    names = [source.name(index) for index in range(len(source))]
    tops = [name.split('/')[0] if '/' in name else '' for name in names]
    loose = [name for name, top in zip(names, tops, strict=True) if top in ('', '.', '..')]
    if loose:
        fault = f'{source.path}: {loose[0]} lies in no folder (one of {len(loose)})'
        raise ConfigError(f'--labels=folders: {fault}. Every picture must be in the folder of its class')
    classes = sorted(set(tops))
    numbers = {top: number for number, top in enumerate(classes)}
    return SourceLabels(values=[numbers[top] for top in tops], classes=classes)


def to_json(labels: SourceLabels | None, names: Sequence[str], kept: Sequence[int]) -> bytes:
    """The text of dataset.json. names: of the files written. kept: the position of each in the source."""
    if labels is None:
        content: dict[str, object] = {'labels': None}
    else:
        content = {'labels': [[name, labels.values[index]] for name, index in zip(names, kept, strict=True)]}
        if labels.classes:
            content['classes'] = labels.classes
    return (json.dumps(content) + '\n').encode()


def class_counts(labels: SourceLabels, kept: Sequence[int]) -> list[tuple[str, int]]:
    """The name of every class, or its number, and how many of the kept pictures are of it."""
    if isinstance(labels.values[0], list):
        return []
    values = [labels.values[index] for index in kept]
    names = labels.classes or [str(number) for number in range(max(values) + 1)]  # type: ignore[type-var, operator]
    counts = [0] * len(names)
    for value in values:
        counts[value] += 1  # type: ignore[index]
    return list(zip(names, counts, strict=True))


def missing_classes(counts: list[tuple[str, int]]) -> str:
    """The classes without a picture, for messages; '' where there are none."""
    return some(name for name, count in counts if not count)
