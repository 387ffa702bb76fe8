"""Bookmarks: points of views in a latents file, which every command that draws takes as --latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError, DataError
from ganfoundry.explore.view import View
from ganfoundry.points import Point
from training.run.latents import DIGEST, Latents, encode_latents, read_latents, write_latents

VIEWS = 'views'  # key of the provenance: one text per point, empty for a point that no view made


@dataclass(frozen=True, kw_only=True, slots=True)
class Bookmark:
    """A point, the view that it came from, and the sha256 of the network that draws it."""

    point: Point
    view: View
    digest: str


def latents_of(bookmarks: Sequence[Bookmark], before: Latents | None = None) -> Latents:
    """Returns the content of a latents file.

    Args:
        bookmarks: The new points, all of one space and shape.
        before: Content that they follow, of the same space and shape.
    """
    space = bookmarks[0].point.space
    points = torch.stack([bookmark.point.latent for bookmark in bookmarks])
    c = torch.stack([bookmark.point.c for bookmark in bookmarks]) if space == 'z' else None
    views = [bookmark.view.query() for bookmark in bookmarks]
    digests: set[str | None] = {bookmark.digest for bookmark in bookmarks}
    if before is not None:
        points = torch.cat([before.points, points])
        c = None if c is None or before.c is None else torch.cat([before.c, c])
        views = views_of(before) + views
        digests.add(before.provenance.get(DIGEST))
    provenance: dict[str, Any] = {'command': 'explore.py', VIEWS: views}
    if len(digests) == 1:
        provenance[DIGEST] = digests.pop()
    if c is not None and c.shape[1] == 0:
        c = None
    return Latents(space=space, points=points, c=c, provenance=provenance)


def views_of(latents: Latents) -> list[str]:
    """Returns the texts of the views of a file, one per point."""
    found = latents.provenance.get(VIEWS)
    if isinstance(found, list) and len(found) == len(latents.points) and all(isinstance(text, str) for text in found):
        return found
    return [''] * len(latents.points)


def encode_bookmarks(bookmarks: Sequence[Bookmark]) -> bytes:
    """Returns a latents file of bookmarks for a download."""
    return encode_latents(latents_of(bookmarks))


class BookmarkFile:
    """The latents file that the command line names. Points are added at its end, so that indices stay.

    Args:
        path: The file; it is made when the first point is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, G: Any) -> Latents | None:
        """Returns the content of the file, None if there is none. ConfigError if no point of `G` can be added to it."""
        if not self.path.exists():
            return None
        try:
            return read_latents(self.path, G)
        except DataError as error:
            raise ConfigError(f'--bookmarks={error}; name another file') from None

    def add(self, bookmarks: Sequence[Bookmark], G: Any) -> list[int]:
        """Adds points that the file does not hold yet.

        Args:
            bookmarks: The points.
            G: The network that draws them.

        Returns:
            The index of each in the file.

        Raises:
            ConfigError: If the points do not fit the file, or if it cannot be written.
        """
        before = self.read(G)
        if before is not None:
            self._check(before, bookmarks[0].point)
        count = 0 if before is None else len(before.points)
        known = {} if before is None else {key_of(before, index): index for index in reversed(range(count))}
        new: list[Bookmark] = []
        indices = []
        for bookmark in bookmarks:
            key = key_of(latents_of([bookmark]), 0)
            if key not in known:
                known[key] = count + len(new)
                new.append(bookmark)
            indices.append(known[key])
        if new:
            try:
                write_latents(self.path, latents_of(new, before))
            except OSError as error:
                raise ConfigError(
                    f'--bookmarks={self.path}: cannot be written ({error.strerror}); name another file'
                ) from None
        return indices

    def _check(self, before: Latents, point: Point) -> None:
        """Refuses a file of another space, or of z without the labels that this network needs."""
        if before.space != point.space:
            raise ConfigError(f'--bookmarks={self.path}: holds {before.space}, not {point.space}; name another file')
        if point.space == 'z' and before.c is None and len(point.c) > 0:
            raise ConfigError(f'--bookmarks={self.path}: holds z without labels; name another file')


def key_of(latents: Latents, index: int) -> bytes:
    """Returns the bytes of a point and its label, equal for equal points."""
    label = b'' if latents.c is None else latents.c[index].numpy().tobytes()
    return latents.points[index].numpy().tobytes() + label
