"""Latents of a generator: the spaces that they are points of, and the file that programs exchange them in.

A latents file is an .npz with `w` [N, num_ws, w_dim] or `z` [N, z_dim], optional labels `c` [N, label_dim], and
`provenance`, a JSON object with the network's sha256, the command and the seeds as far as they are known.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dnnlib.errors import DataError, FileError, RecordError
from dnnlib.files import write_bytes
from dnnlib.records import parse_record
from dnnlib.regular_file import open_regular
from training.data.array_file import parse_header
from training.interface import StyleGenerator

Space = Literal['w', 'z']
DIGEST = 'network_sha256'  # key of the provenance
MAX_BYTES = {'w': 2**30, 'z': 2**30, 'c': 2**28, 'provenance': 2**24}  # limits of the arrays of a file
EXPECTED = 'expected an .npz with an array "w" or "z"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """Points of one latent space, on the CPU.

    points: float32, `w` [N, num_ws, w_dim] or `z` [N, z_dim]. c: labels, float32 [N, label_dim], or None.
    """

    space: Space
    points: torch.Tensor
    c: torch.Tensor | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def space_of(G: Any) -> Space:
    """Returns 'w' for a generator with an intermediate latent space (`StyleGenerator`), else 'z'."""
    return 'w' if isinstance(G, StyleGenerator) else 'z'


def spaces_of(G: Any) -> tuple[str, ...]:
    """Returns all spaces of a generator: 'w', 'w+' (one w per layer) and 'z' if it has a W space, else 'z'."""
    return ('w', 'w+', 'z') if space_of(G) == 'w' else ('z',)


def shape_of(G: Any, space: Space) -> tuple[int, ...]:
    """Returns the shape of one point of a space that `G` has."""
    return (G.num_ws, G.w_dim) if space == 'w' else (G.z_dim,)


def check_points(where: str, space: Space, points: np.ndarray | torch.Tensor, G: Any) -> None:
    """Refuses points that are not finite floats of the shape that a generator takes, or of a space that it lacks.

    Args:
        where: The file or argument, for messages.
        space: 'w' or 'z'.
        points: `w` [N, num_ws, w_dim] or `z` [N, z_dim].
        G: The generator.
    """
    if space == 'w' and space_of(G) == 'z':
        raise DataError(f'{where}: holds w, and this network has no W space; give z, or seeds')
    takes = shape_of(G, space)
    is_float = points.dtype.is_floating_point if isinstance(points, torch.Tensor) else points.dtype.kind == 'f'
    if tuple(points.shape[1:]) != takes or not is_float or len(points) == 0:
        sizes = ', '.join(str(n) for n in takes)
        raise DataError(
            f'{where}: {space} is {points.dtype} {list(points.shape)}; this network takes floats [N, {sizes}]'
        )
    _check_finite(where, space, points)


def _check_finite(where: str, name: str, values: np.ndarray | torch.Tensor) -> None:
    """Refuses numbers that are not finite in float32."""
    finite = _to_tensor(values).isfinite().flatten(1).all(dim=1)  # [N]
    if not finite.all():
        bad = (~finite).nonzero().flatten().tolist()
        raise DataError(
            f'{where}: {name} holds NaN, infinity, or a number too large for float32, first at index {bad[0]} '
            f'({len(bad)} of {len(finite)})'
        )


def _to_tensor(values: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Returns numbers as float32; numbers too large for it are infinite."""
    if isinstance(values, torch.Tensor):
        return values.float()
    with np.errstate(over='ignore'):
        return torch.from_numpy(values.astype(np.float32))


def write_latents(path: Path, latents: Latents) -> None:
    """Writes a latents file atomically. Equal latents give equal bytes."""
    write_bytes(path, encode_latents(latents))


def encode_latents(latents: Latents) -> bytes:
    """Returns the bytes of a latents file."""
    arrays = {latents.space: latents.points.numpy(), 'provenance': np.array(json.dumps(latents.provenance))}
    if latents.c is not None:
        arrays['c'] = latents.c.numpy()
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes every keyword for allow_pickle
    return file.getvalue()


def read_latents(path: Path, G: Any) -> Latents:
    """Reads the latents of a file that a generator can draw.

    Args:
        path: An .npz as this module describes it. A file with nothing except `w`, as other projectors write it, is one.
        G: The generator.

    Raises:
        DataError: Names the file if it is no latents file, or does not fit the generator.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            arrays = {info.filename[:-4]: _read_array(archive, info) for info in _wanted(path, archive)}
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataError):
            raise
        fault = error.strerror if isinstance(error, FileError) else error
        raise DataError(f'{path}: {EXPECTED} ({fault})') from None
    return _checked(path, arrays, G)


def _wanted(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Returns the entries of a latents file. Raises DataError at one above its limit, or one that occurs twice."""
    found = [info for info in archive.infolist() if info.filename.removesuffix('.npy') in MAX_BYTES]
    names = [info.filename for info in found]
    for info in found:
        if info.file_size > (most := MAX_BYTES[info.filename.removesuffix('.npy')]):
            raise DataError(f'{path}: {info.filename} has {info.file_size} bytes; at most {most} are read')
        if names.count(info.filename) > 1:
            raise DataError(f'{path}: holds {info.filename} twice')
    return found


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Returns one array of an .npz. Its shape is compared with the size of its entry before anything is allocated.

    Raises ValueError for anything except plain numbers or text: no pickle is read.
    """
    with archive.open(info) as file:
        shape, fortran, dtype = parse_header(file)
        if dtype.kind not in 'fiuU' or min(shape, default=0) < 0:
            raise ValueError(f'{info.filename} holds {dtype} {list(shape)}')
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - file.tell():
            raise ValueError(f'{info.filename} is cut short')
        data = file.read(size + 1)  # a byte more than announced lets zipfile check the CRC
        if len(data) != size:
            raise ValueError(f'{info.filename} is cut short')
    return np.frombuffer(data, dtype).reshape(shape, order='F' if fortran else 'C')


def _checked(path: Path, arrays: Mapping[str, np.ndarray], G: Any) -> Latents:
    spaces: list[Space] = [space for space in ('w', 'z') if space in arrays]
    if len(spaces) != 1:
        raise DataError(f'{path}: holds {"both w and z" if spaces else "neither w nor z"}; {EXPECTED}')
    space = spaces[0]
    points = arrays[space]
    check_points(str(path), space, points, G)
    c = arrays.get('c')
    if c is not None:
        if c.shape != (len(points), G.c_dim) or c.dtype.kind == 'U':
            takes = f'numbers [{len(points)}, {G.c_dim}]'
            raise DataError(f'{path}: c is {c.dtype} {list(c.shape)}; this network takes {takes}')
        _check_finite(str(path), 'c', c)
    return Latents(
        space=space,
        points=_to_tensor(points),
        c=None if c is None else _to_tensor(c),
        provenance=_provenance(path, arrays),
    )


def _provenance(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if 'provenance' not in arrays:
        return {}
    try:
        return parse_record(str(arrays['provenance']), f'{path}: provenance').values
    except RecordError as error:
        raise DataError(str(error)) from None


def note_on(latents: Latents, network_sha256: str) -> str | None:
    """Returns a note that names both digests if the latents were made for another network, else None."""
    made_for = latents.provenance.get(DIGEST)
    if made_for in (None, network_sha256):
        return None
    return f'the latents were made for the network with sha256 {made_for}, this one has {network_sha256}; shapes fit'
