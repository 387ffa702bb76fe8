"""Grids of mixed styles: the mixtures of two lists of sources, their images, and the sheet of all.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganfoundry.captions import caption
from ganfoundry.drawing import Drawn, draw_points, save_image
from ganfoundry.jobs import Settings
from ganfoundry.network import Network
from ganfoundry.pictures import check_free
from ganfoundry.points import Point, stored_point, ws_of
from ganfoundry.sheets import collect, visible, with_margins
from ganfoundry.style_layers import Layer, described


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixing:
    """Two lists of sources, and the styles that are exchanged.

    Attributes:
        rows: Points that give most styles, named after their seeds or files.
        cols: Points that give the chosen styles.
        indices: Indices of the chosen styles.
        layers: The ws of the network.
        settings: How the images are drawn.
    """

    rows: list[Point]
    cols: list[Point]
    indices: tuple[int, ...]
    layers: list[Layer]
    settings: Settings


def styles_of(network: Network, points: Sequence[Point], settings: Settings) -> list[Point]:
    """Returns points in W, with their own names and origins."""
    with torch.no_grad():
        return [
            point._replace(space='w', latent=ws_of(network.module, [point], settings.truncation_psi)[0].cpu())
            for point in points
        ]


def mixed(row: Point, col: Point, indices: Iterable[int]) -> Point:
    """Returns the point that takes the chosen styles from `col` and the others from `row`, both in W."""
    ws = row.latent.clone()  # [L, w_dim]
    for index in indices:
        ws[index] = col.latent[index]
    return stored_point(f'{row.name}-{col.name}', 'w', ws, row.c)


def draw_mixtures(
    network: Network, points: Sequence[Point], sources: Sequence[Drawn], settings: Settings
) -> Iterator[Drawn]:
    """Yields the images of mixtures. A mixture with all styles of one source is the image of that source, to the bit.

    Args:
        network: The network.
        points: The mixtures.
        sources: Images of the sources.
        settings: How the images are drawn.
    """
    known = {source.point.latent.numpy().tobytes(): source for source in sources}
    keys = [point.latent.numpy().tobytes() for point in points]
    others = [point for point, key in zip(points, keys, strict=True) if key not in known]
    drawn = draw_points(network.module, others, bits=network.spec.bits, **how(settings))
    for point, key in zip(points, keys, strict=True):
        yield known[key]._replace(point=point) if key in known else next(drawn)


def draw_grid_again(network: Network, mixing: Mixing, path: Path, *, overwrite: bool) -> None:
    """Draws a grid again, without its single images.

    Args:
        network: The network.
        mixing: The sources and styles.
        path: The new file.
        overwrite: Whether to replace another picture of this name.
    """
    text = {**info_of(network, mixing.settings), **grid_text(mixing)}
    check_free(path, text, overwrite=overwrite)
    sources = draw_sources(network, mixing)
    pairs = pairs_of(sources, mixing)
    cells = collect(draw_mixtures(network, pairs, sources, mixing.settings), len(pairs), path)
    save_grid(sources, cells, mixing, path, text)


def draw_sources(network: Network, mixing: Mixing) -> list[Drawn]:
    """Returns the images of the rows, then of the columns; their points are in W."""
    points = styles_of(network, [*mixing.rows, *mixing.cols], mixing.settings)
    return list(draw_points(network.module, points, bits=network.spec.bits, **how(mixing.settings)))


def pairs_of(sources: Sequence[Drawn], mixing: Mixing) -> list[Point]:
    """Returns the mixtures of every row with every column, row by row."""
    points = [source.point for source in sources]
    rows, cols = points[: len(mixing.rows)], points[len(mixing.rows) :]
    return [mixed(row, col, mixing.indices) for row in rows for col in cols]


def save_grid(sources: Sequence[Drawn], cells: np.ndarray, mixing: Mixing, path: Path, text: dict[str, Any]) -> None:
    """Writes a grid, with a caption that says which layers were exchanged.

    Args:
        sources: Images of the rows, then of the columns.
        cells: Images of the pairs as sheets show them, uint8 [N, C, H, W].
        mixing: The sources and styles.
        path: The PNG.
        text: Its text chunks.
    """
    margins = np.stack([visible(source) for source in sources])
    sheet = with_margins(margins[: len(mixing.rows)], margins[len(mixing.rows) :], cells)
    words = described(mixing.indices, mixing.layers)
    save_image(caption(sheet, words), path, text)
    print(f'{path}: {words}')


def grid_text(mixing: Mixing) -> dict[str, Any]:
    """Returns the text chunks of a grid: origins of its sources, and the indices of the styles."""
    return {
        'row_points': [named_origin(point) for point in mixing.rows],
        'col_points': [named_origin(point) for point in mixing.cols],
        'styles': list(mixing.indices),
        'batch': [0, mixing.settings.batch],
    }


def named_origin(point: Point) -> dict[str, Any]:
    """Returns the origin of a source, and its name."""
    return {'name': point.name, **point.origin}


def info_of(network: Network, settings: Settings) -> dict[str, Any]:
    """Returns the text chunks that all pictures of a command share."""
    return network.info(truncation_psi=settings.truncation_psi, noise_mode=settings.noise_mode)


def how(settings: Settings) -> dict[str, Any]:
    """Returns the arguments of `draw_points`."""
    return {'noise_mode': settings.noise_mode, 'batch': settings.batch}
