"""Closed paths through keyframes: a periodic cubic spline, or straight lines; in W as it is, in z on the sphere.

Letters: K keyframes, F frames per keyframe; frame k F shows keyframe k exactly, and frame K F would be frame 0 again.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.interpolate

Interpolation = Literal['cubic', 'linear']


def closed_path(keyframes: np.ndarray, num_between: int, interpolation: Interpolation = 'cubic') -> np.ndarray:
    """Returns the points of a closed path through keyframes.

    Args:
        keyframes: Points in the order of the path, [K, ...], K >= 1.
        num_between: F, the number of frames from one keyframe to the next.
        interpolation: 'cubic' for a periodic cubic spline, whose velocity and acceleration have no jump, or 'linear'.

    Returns:
        float64 [K * F, ...].
    """
    knots = np.concatenate([keyframes, keyframes[:1]]).astype(np.float64)  # [K + 1, ...]
    times = np.arange(len(keyframes) * num_between) / num_between
    if interpolation == 'linear':
        path = scipy.interpolate.make_interp_spline(np.arange(len(knots)), knots, k=1)(times)
    else:
        path = scipy.interpolate.CubicSpline(np.arange(len(knots)), knots, bc_type='periodic')(times)
    path[::num_between] = keyframes
    return np.asarray(path)


def closed_path_on_sphere(
    keyframes: np.ndarray, num_between: int, interpolation: Interpolation = 'cubic'
) -> np.ndarray:
    """Returns a closed path through latents whose lengths are those of latents of training.

    A spline through nearly orthogonal latents passes points of 0.7 times their length, which no latent of training has.
    Direction and length follow separate paths: the direction is normalized, and the logarithm of the length changes
    from that of one keyframe to that of the next. The keyframes stay exactly what they are; putting them on the sphere
    of radius sqrt(z_dim) instead would change the images of networks that do not normalize their latents.

    Args:
        keyframes: Latents, [K, z_dim].
        num_between: F, the number of frames from one keyframe to the next.
        interpolation: 'cubic' or 'linear', as in `closed_path`.

    Returns:
        float64 [K * F, z_dim].
    """
    lengths = np.linalg.norm(keyframes.astype(np.float64), axis=1, keepdims=True)  # [K, 1]
    directions = closed_path(keyframes / lengths, num_between, interpolation)  # [K * F, z_dim]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    path: np.ndarray = directions * np.exp(closed_path(np.log(lengths), num_between, interpolation))
    path[::num_between] = keyframes
    return path


def cells_of(num_keyframes: int, cells: int, per_cell: int) -> np.ndarray:
    """Assigns consecutive keyframes to the cells of a grid; too few of them are repeated in turn.

    Args:
        num_keyframes: Number of keyframes at hand.
        cells: Number of cells.
        per_cell: K, the number of keyframes of each cell.

    Returns:
        Indices of keyframes, int [cells, K].
    """
    return np.arange(cells * per_cell).reshape(cells, per_cell) % num_keyframes
