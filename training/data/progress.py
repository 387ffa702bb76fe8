"""Progress of a command on the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr if that is a terminal; a file or a pipe receives nothing.

    Yields a function to call after every item, which receives the total number of items.
    """
    if not sys.stderr.isatty():
        yield lambda total: None
        return
    with click.progressbar(length=0, file=sys.stderr, label=label, show_pos=True, show_percent=True) as bar:

        def advance(total: int) -> None:
            """Advances the bar by one item."""
            bar.length = total
            bar.update(1)

        yield advance
