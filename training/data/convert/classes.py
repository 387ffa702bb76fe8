"""A choice of classes: the pictures of some of them, with the classes numbered anew in the order of the choice."""

from __future__ import annotations

from collections.abc import Sequence

from dnnlib.errors import ConfigError
from dnnlib.registry import suggest
from training.data.convert.source import SourceLabels


def choose_classes(labels: SourceLabels | None, choice: str) -> tuple[SourceLabels, list[int]]:
    """Returns the labels of the chosen classes and the positions of their pictures.

    Args:
        labels: Labels of all pictures of a source; None if it has none.
        choice: Names or numbers of classes, separated by commas: 'cat,dog' or '3,8-11'.

    Returns:
        Labels of all pictures, in which the first chosen class is 0, and the ascending positions of the pictures of the
        chosen classes. The labels of other pictures mean nothing.

    Raises:
        ConfigError: If the source has no classes, if it does not have one of these, or if one is named twice.
    """
    if labels is None or any(isinstance(value, list) for value in labels.values):
        kind = 'no labels' if labels is None else 'label vectors'
        raise ConfigError(f'--classes={choice}: chooses from classes, and the source has {kind}; --labels=folders?')
    numbers = [int(value) for value in labels.values]  # type: ignore[arg-type]  # no vectors, as checked
    names = labels.classes or [str(number) for number in range(max(numbers) + 1)]
    chosen = [number for part in choice.split(',') for number in _numbers(part.strip(), names, choice)]
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f'--classes={choice}: names a class twice')
    renumbered = {number: new for new, number in enumerate(chosen)}
    positions = [index for index, number in enumerate(numbers) if number in renumbered]
    if not positions:
        raise ConfigError(f'--classes={choice}: no picture of the source is of these classes')
    return (
        SourceLabels(
            values=[renumbered.get(number, 0) for number in numbers],
            classes=[names[number] for number in chosen] if labels.classes else None,
            note=labels.note,
        ),
        positions,
    )


def _numbers(part: str, names: Sequence[str], choice: str) -> Sequence[int]:
    """Returns the numbers of the classes that one part of a choice names: a name, a number, or a range 8-11."""
    if part in names:
        return [list(names).index(part)]
    first, _, last = part.partition('-')
    if first.isdecimal() and (last or first).isdecimal():
        numbers = range(int(first[:9]), int((last or first)[:9]) + 1)
        if numbers and numbers[-1] < len(names):
            return numbers
        raise ConfigError(f'--classes={choice}: the classes of the source are 0 to {len(names) - 1}, not {part}')
    raise ConfigError(f'--classes={choice}: no class {part!r}; {suggest(part, names)}')
