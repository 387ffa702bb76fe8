"""Pictures that are drawn again from their own text chunks: `generate.py --from`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dnnlib.errors import ConfigError
from dnnlib.regular_file import check_regular
from ganfoundry.class_option import NO_LABEL, parse_class
from ganfoundry.drawing import NOISE_MODES
from ganfoundry.jobs import Job, Settings
from ganfoundry.latent_options import MAX_SEED, Seeds
from ganfoundry.network import PRECISIONS, Network
from ganfoundry.pictures import read_png
from ganfoundry.points import Point, PointList, decode, points_of_seeds, stored_point, with_noise_seed
from ganfoundry.style_grid import Mixing
from ganfoundry.style_layers import layers_of
from ganfoundry.transform_option import Transform
from training.run.latents import Space, check_points, shape_of

MAX_BATCH = 4096  # images in a batch that is drawn again


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureRecord:
    """The text chunks of a picture.

    Attributes:
        path: The picture.
        network: Name of the network's file.
        network_sha256: Digest of that file.
        settings: How the picture was drawn.
        precision: 'fp32', 'bf16', 'fp16' or 'auto'.
        origins: Origin of each image, see `Point`; one unless it is a sheet.
        position: Position of a single image in its batch.
        columns: Images in a row of a sheet; None for a single image, and for sheets of version 0.1.
        width: Width in pixels.
        num_rows: Rows of a grid of style_mixing.py, whose origins are those of the rows, then of the columns.
        styles: Indices of the styles that such a grid exchanges; None for other pictures.
        rows: Names of the rows of a sheet.
    """

    path: Path
    network: str
    network_sha256: str
    settings: Settings
    precision: str
    origins: Sequence[Mapping[str, Any]]
    position: int
    columns: int | None
    width: int
    num_rows: int
    styles: tuple[int, ...] | None
    rows: tuple[str, ...]


def read_picture(path: Path, option: str = '--from') -> PictureRecord:
    """Reads the text chunks of a picture.

    Args:
        path: A PNG of generate.py or of another command of this project.
        option: Name of the option in messages.

    Raises:
        ConfigError: Names the picture if it does not say how it was drawn.
    """
    where = f'{option}={path}'
    check_regular(path)
    found = read_png(path)
    if found is None or 'network_sha256' not in found[0]:
        raise ConfigError(f'{where}: expected a PNG of generate.py, which says in its text chunks how it was drawn')
    text = {key: _json(value) for key, value in found[0].items()}
    get = _Reader(text, where)
    if 'projected_w' in text and 'w' not in text and 'z' not in text:
        raise ConfigError(f'{where}: names a file of latents and does not hold them; draw with --latents')
    batch = get('batch', [0, 1], _is_batch)
    return PictureRecord(
        path=path,
        network=get('network', '', _is_text),
        network_sha256=get('network_sha256', None, _is_text),
        settings=Settings(
            truncation_psi=get('truncation_psi', 1, _is_finite),
            noise_mode=get('noise_mode', 'const', lambda value: value in NOISE_MODES),
            recalibrate=get('recalibrate', False, lambda value: isinstance(value, bool)),
            batch=batch[1],
            transform=Transform(
                translate=tuple(get('translate', [0.0, 0.0], _is_pair)), rotate=get('rotate', 0.0, _is_finite)
            ),
        ),
        precision=get('precision', 'fp32', lambda value: value in PRECISIONS),
        origins=_origins(get, text),
        position=batch[0],
        columns=get('columns', None, lambda value: value is None or _is_whole(value, 1, 2**16)),
        width=found[1],
        num_rows=len(get('row_points', [], lambda value: _is_list(value, dict))),
        styles=None if (styles := get('styles', None, _is_styles)) is None else tuple(styles),
        rows=tuple(get('rows', [], lambda value: _is_list(value, str))),
    )


def job_of_picture(picture: PictureRecord, network: Network) -> Job:
    """Returns the job that draws a picture again. Raises ConfigError if it is damaged, or none of this network."""
    where = f'--from={picture.path}'
    name = picture.path.stem
    G, names = network.module, network.class_names
    points = [point_of(origin, name, G, names, where) for origin in picture.origins]
    columns = picture.columns
    if columns is None and len(points) > 1:  # a sheet of version 0.1
        columns = max(picture.width // network.spec.width, 1)
    if columns is None:
        same = PointList(Seeds(()), G.z_dim, NO_LABEL, points * picture.settings.batch)
        return Job(points=same, position=picture.position)
    if picture.rows and len(picture.rows) * columns != len(points):
        raise ConfigError(f"{where}: its text 'rows' does not fit its {len(points)} images")
    points_of_sheet = PointList(Seeds(()), G.z_dim, NO_LABEL, points)
    return Job(points=points_of_sheet, columns=columns, rows=picture.rows, name=name)


def mixing_of_picture(picture: PictureRecord, network: Network) -> Mixing:
    """Returns the sources and styles of a grid of style_mixing.py. Errors: see `job_of_picture`."""
    where = f'--from={picture.path}'
    layers = layers_of(network.module, network.spec) if 'w' in network.spaces else []
    styles = picture.styles or ()
    if any(index >= len(layers) for index in styles):
        raise ConfigError(f"{where}: its text 'styles' does not fit this network, which has {len(layers)} ws")
    points = [
        point_of(origin, str(origin.get('name', '')), network.module, network.class_names, where)
        for origin in picture.origins
    ]
    return Mixing(
        rows=points[: picture.num_rows],
        cols=points[picture.num_rows :],
        indices=styles,
        layers=layers,
        settings=picture.settings,
    )


def _origins(get: _Reader, text: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the origins of a sheet, or of a single image."""
    if 'seeds' in text and 'points' not in text:  # sheets of version 0.1
        seeds = get('seeds', [], lambda value: _is_list(value, int) and len(value) > 0)
        return [{'seed': seed, 'class_idx': text.get('class_idx')} for seed in seeds]
    if 'styles' in text:
        parts = [
            get(key, [], lambda value: _is_list(value, dict) and bool(value)) for key in ('row_points', 'col_points')
        ]
        return [origin for part in parts for origin in part]
    if 'points' in text:
        origins: list[Mapping[str, Any]] = get('points', [], lambda value: _is_list(value, dict) and len(value) > 0)
        return origins
    return [text]


class _Reader:
    """Reads values, and names the one that cannot be used."""

    def __init__(self, text: Mapping[str, Any], where: str) -> None:
        self._text, self._where = text, where

    def __call__(self, key: str, default: Any, check: Callable[[Any], bool]) -> Any:
        """Returns a value; raises ConfigError if `check` refuses it."""
        value = self._text.get(key, default)
        if not check(value):
            raise ConfigError(f"{self._where}: its text '{key}' is damaged: {json.dumps(value)[:60]}")
        return value


def _json(text: str) -> Any:
    """Returns a value of JSON; a text that is none is itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(part, kind) for part in value)


def _is_styles(value: Any) -> bool:
    return value is None or (_is_list(value, int) and all(_is_whole(index, 0, 2**16) for index in value))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_finite, value))


def _is_batch(value: Any) -> bool:
    if not (_is_list(value, int) and len(value) == 2):
        return False
    return _is_whole(value[1], 1, MAX_BATCH) and _is_whole(value[0], 0, value[1] - 1)


def point_of(origin: Mapping[str, Any], name: str, G: Any, class_names: Sequence[str], where: str) -> Point:
    """Returns the point of an origin, see `Point`.

    Args:
        origin: The origin, as JSON values.
        name: Stem of the new file.
        G: The network.
        class_names: Names of its classes.
        where: Option and picture, for messages.

    Raises:
        ConfigError: If the origin is damaged, or is none of this network.
    """
    if 'seed' in origin:
        if not _is_whole(origin['seed'], 0, MAX_SEED):
            raise ConfigError(f"{where}: its text 'seed' is damaged: {json.dumps(origin['seed'])[:60]}")
        text = origin.get('class', origin.get('class_idx'))
        label = parse_class(None if text is None else _text_of(text), G.c_dim, class_names, f'{where}: class')
        (point,) = points_of_seeds([origin['seed']], G.z_dim, label)
        if 'noise_seed' in origin and not _is_whole(origin['noise_seed'], 0, MAX_SEED):
            raise ConfigError(f"{where}: its text 'noise_seed' is damaged: {json.dumps(origin['noise_seed'])[:60]}")
        return with_noise_seed(point._replace(name=name), origin.get('noise_seed'))
    space: Space = 'w' if 'w' in origin else 'z'
    try:
        latent = decode(str(origin[space]), shape_of(G, space))
        c = decode(str(origin['c']), (G.c_dim,)) if 'c' in origin else torch.zeros(G.c_dim)
    except (KeyError, ValueError, AttributeError):
        raise ConfigError(f'{where}: holds neither a seed nor latents of this network') from None
    check_points(where, space, latent[None], G)
    noise_seed = origin.get('noise_seed', 0)
    return stored_point(name, space, latent, c, noise_seed if _is_whole(noise_seed, 0, MAX_SEED) else 0)


def _text_of(label: Any) -> str:
    """Returns the text of --class; a vector has been read as a list of JSON."""
    return label if isinstance(label, str) else json.dumps(label)
