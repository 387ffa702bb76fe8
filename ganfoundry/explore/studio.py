"""Everything that the worker thread of the explorer owns: the networks next to each other, and their stored points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dnnlib.errors import ConfigError
from dnnlib.log import print_note
from ganfoundry.explore.bookmarks import Bookmark, BookmarkFile, encode_bookmarks
from ganfoundry.explore.command_line import Machine, Stored, generate_line
from ganfoundry.explore.model import Model, Picture
from ganfoundry.explore.networks import Loading, Side
from ganfoundry.explore.place import Start, in_file_space, label_of
from ganfoundry.explore.view import View
from ganfoundry.latent_options import parse_latents
from ganfoundry.points import notes_on, read_file
from ganfoundry.style_layers import layers_of
from training.run.latents import space_of

NUM_DIRECTIONS = 8  # sliders of each kind


@dataclass(frozen=True, kw_only=True, slots=True)
class StudioOptions:
    """Options of the studio.

    Attributes:
        networks: --network and --compare.
        latents: --latents.
        bookmarks: --bookmarks.
        machine: How the networks are loaded.
    """

    networks: tuple[str, ...]
    latents: tuple[str, ...] = ()
    bookmarks: str = 'latents.npz'
    machine: Machine = field(default_factory=Machine)


class Studio:
    """The networks of the page. Only one thread may use it.

    Args:
        options: What to open.

    Raises:
        UserError: If a network or a file cannot be used.
    """

    def __init__(self, options: StudioOptions) -> None:
        machine = options.machine
        loading = Loading(device=machine.device or 'auto', precision=machine.precision, plugin=machine.plugin)
        self._machine = machine
        self._sides = [Side(where, loading) for where in options.networks]
        first = self._sides[0].first.network
        self._starts: dict[str, Start] = {}
        for file in parse_latents(options.latents):
            latents = read_file(file, first.module)
            for note in notes_on([latents], first.sha256):
                print_note(note)
            for index in range(len(latents.points)) if file.indices is None else file.indices:
                start = Start(file=file, latents=latents, index=index)
                if self._starts.setdefault(start.name, start).file.path != file.path:
                    raise ConfigError(f'--latents={file.path}: two files have this name; rename one')
        self._file = BookmarkFile(Path(options.bookmarks))
        if ',' in options.bookmarks or not options.bookmarks.endswith('.npz'):
            raise ConfigError(f'--bookmarks={options.bookmarks}: expected FILE.npz, without a comma')
        self._file.read(first.module)
        self._info = [self._info_of(side) for side in self._sides]  # draws, so that the first picture comes at once

    def picture(self, side: int, view: View, *, draft: bool) -> Picture:
        """Returns the picture of a view.

        Args:
            side: 0, or 1 for --compare.
            view: The view.
            draft: A WebP, which is encoded faster, in place of the PNG of generate.py.
        """
        return self._model(side, view).picture(view, self._starts, draft=draft)

    def image(self, side: int, view: View) -> np.ndarray:
        """Returns the image of a view, uint8 or uint16 [C, H, W]."""
        return self._model(side, view).draw(view, self._starts).image

    def command(self, side: int, view: View) -> str:
        """Returns the line of generate.py that draws a view; a point without a seed becomes a bookmark for it."""
        model = self._model(side, view)
        point = model.point(view, self._starts)
        stored = None
        start = self._starts.get(view.start)
        if start is not None and not view.moved and ',' not in str(start.file.path):
            stored = Stored(
                path=start.file.path,
                index=start.index,
                space=start.latents.space,
                labeled=start.latents.c is not None,
            )
        elif start is not None or view.moved:
            (index,) = self.keep(side, [view])
            stored = Stored(path=self._file.path, index=index, space=space_of(model.network.module), labeled=True)
        label = label_of(view, model.network)
        return generate_line(view, point, label, model.network.path, self._machine, stored)

    def keep(self, side: int, views: Sequence[View]) -> list[int]:
        """Adds views to the file of the command line, and returns the index of each there."""
        return self._file.add(self._bookmarks(side, views), self._model(side, views[0]).network.module)

    def encode(self, side: int, views: Sequence[View]) -> bytes:
        """Returns a latents file of views."""
        return encode_bookmarks(self._bookmarks(side, views))

    def info(self) -> dict[str, Any]:
        """Returns what the page needs: a record of each network, the names of stored points, and the file."""
        return {'networks': self._info, 'starts': list(self._starts), 'bookmarks': str(self._file.path)}

    def snapshots(self) -> list[list[str]]:
        """Returns the names of the snapshots of each side."""
        return [side.snapshots() for side in self._sides]

    @property
    def sides(self) -> Sequence[Side]:
        """The sides of the page."""
        return self._sides

    def _model(self, side: int, view: View) -> Model:
        if not 0 <= side < len(self._sides):
            raise ConfigError(f'side={side}: no such picture')
        return self._sides[side].model(view.snapshot)

    def _bookmarks(self, side: int, views: Sequence[View]) -> list[Bookmark]:
        bookmarks = []
        for view in views:
            model = self._model(side, view)
            point = in_file_space(model.point(view, self._starts), model.network, view.psi)
            bookmarks.append(Bookmark(point=point, view=view, digest=model.network.sha256))
        return bookmarks

    def _info_of(self, side: Side) -> dict[str, Any]:
        network = side.first.network
        G, spec = network.module, network.spec
        has_w = space_of(G) == 'w'
        return {
            'name': side.name,
            'digest': network.sha256,
            'cfg': network.config.cfg,
            'snapshot': network.path.stem if side.snapshots() else '',
            'width': spec.width,
            'height': spec.height,
            'images': str(spec),
            'num_classes': G.c_dim,
            'class_names': list(network.class_names),
            'layers': [layer.title for layer in layers_of(G, spec)] if has_w else [],
            'directions': {'sefa': NUM_DIRECTIONS, **({'pca': NUM_DIRECTIONS} if has_w else {})},
            **side.first.traits(),
        }
