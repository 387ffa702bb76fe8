"""Latents of a generator: the space that they are points of, and the file that programs exchange them in.

A latents file is an .npz with `w` [N, num_ws, w_dim] or `z` [N, z_dim], optional labels `c` [N, label_dim], and
`provenance`, a JSON object with the network's sha256, the command and the seeds as far as they are known.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dnnlib.errors import DataError
from dnnlib.files import atomic_path
from training.interface import StyleGenerator

Space = Literal['w', 'z']
DIGEST = 'network_sha256'  # key of the provenance


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


def shape_of(G: Any, space: Space) -> tuple[int, ...]:
    """Returns the shape of one point of a space that `G` has."""
    return (G.num_ws, G.w_dim) if space == 'w' else (G.z_dim,)


def check_points(where: str, space: Space, points: np.ndarray | torch.Tensor, G: Any) -> None:
    """Refuses points that are not floats of the shape that a generator takes, or of a space that it does not have.

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
    if tuple(points.shape[1:]) != takes or not is_float:
        sizes = ', '.join(str(n) for n in takes)
        raise DataError(
            f'{where}: {space} is {points.dtype} {list(points.shape)}; this network takes floats [N, {sizes}]'
        )


def write_latents(path: Path, latents: Latents) -> None:
    """Writes a latents file atomically."""
    arrays = {latents.space: latents.points.numpy(), 'provenance': np.array(json.dumps(latents.provenance))}
    if latents.c is not None:
        arrays['c'] = latents.c.numpy()
    with atomic_path(path) as tmp, tmp.open('wb') as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes every keyword for allow_pickle


def read_latents(path: Path, G: Any) -> Latents:
    """Reads the latents of a file that a generator can draw: `w` if it has a W space and the file holds it, else `z`.

    Args:
        path: An .npz as this module describes it. A file with nothing except `w`, as other projectors write it, is one.
        G: The generator.

    Raises:
        DataError: Names the file if it is no latents file, or does not fit the generator.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ('w', 'z', 'c', 'provenance') if name in file}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f'{path}: expected an .npz with an array "w" or "z" ({error})') from None
    return _checked(path, arrays, G)


def _checked(path: Path, arrays: Mapping[str, np.ndarray], G: Any) -> Latents:
    if 'w' not in arrays and 'z' not in arrays:
        raise DataError(f'{path}: expected an .npz with an array "w" or "z"')
    space: Space = 'z' if 'z' in arrays and (space_of(G) == 'z' or 'w' not in arrays) else 'w'
    points = arrays[space]
    check_points(str(path), space, points, G)
    c = arrays.get('c')
    if c is not None and c.shape != (len(points), G.c_dim):
        raise DataError(f'{path}: c has the shape {list(c.shape)}; this network takes [{len(points)}, {G.c_dim}]')
    return Latents(
        space=space,
        points=torch.from_numpy(points.astype(np.float32)),
        c=None if c is None else torch.from_numpy(c.astype(np.float32)),
        provenance=_provenance(path, arrays),
    )


def _provenance(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if 'provenance' not in arrays:
        return {}
    try:
        provenance = json.loads(str(arrays['provenance']))
    except ValueError as error:
        raise DataError(f'{path}: its provenance is no JSON ({error})') from None
    if not isinstance(provenance, dict):
        raise DataError(f'{path}: its provenance is no JSON object')
    return provenance


def note_on(latents: Latents, network_sha256: str) -> str | None:
    """Returns a note that names both digests if the latents were made for another network, else None."""
    made_for = latents.provenance.get(DIGEST)
    if made_for in (None, network_sha256):
        return None
    return f'the latents were made for the network with sha256 {made_for}, this one has {network_sha256}; shapes fit'
