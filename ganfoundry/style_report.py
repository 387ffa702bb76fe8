"""The report of `style_mixing.py`: how much each layer changes the image.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dnnlib.files import write_json
from ganfoundry.style_layers import Layer
from metrics.detectors.lpips import MIN_SIZE, Lpips
from metrics.streams.images import to_rgb

BATCH = 8  # images that LPIPS compares at a time


class Distance(NamedTuple):
    """A distance of images. name: for the report. of: maps two uint8 [N, C, H, W] to N numbers."""

    name: str
    of: Callable[[np.ndarray, np.ndarray], list[float]]


def distance_for(height: int, width: int, device: torch.device) -> Distance:
    """Returns LPIPS, or the pixel distance, with the reason in its name.

    Args:
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        device: Device of LPIPS.
    """
    if min(height, width) < MIN_SIZE:
        return Distance(f'pixel distance in gray levels (LPIPS needs {MIN_SIZE} pixels)', pixel_distance)
    if not Lpips.available():
        return Distance('pixel distance in gray levels (the weights of LPIPS are absent)', pixel_distance)
    lpips = Lpips('cuda' if device.type == 'cuda' else 'cpu')

    def of(a: np.ndarray, b: np.ndarray) -> list[float]:
        parts = [slice(start, start + BATCH) for start in range(0, len(a), BATCH)]
        return [value for part in parts for value in lpips.distance(rgb(a[part]), rgb(b[part])).tolist()]

    return Distance(f'LPIPS ({lpips.edition}, sha256 {lpips.digest})', of)


def rgb(images: np.ndarray) -> torch.Tensor:
    """Returns uint8 [N, 3, H, W], with alpha over white, as metrics see images."""
    return to_rgb(torch.from_numpy(images))


def pixel_distance(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Returns the mean absolute difference of each pair of images, in gray levels of 0 to 255."""
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return [float(value) for value in difference.mean(axis=(1, 2, 3))]


def measured(images: np.ndarray, layers: Sequence[Layer], num_pairs: int, distance: Distance) -> list[dict[str, Any]]:
    """Returns the mean distance between the row image and its mixture with one layer, for each layer.

    Args:
        images: Uint8 [N, C, H, W], row by row: row images, mixtures of each layer, column images; N = (L + 2) * pairs.
        layers: The L layers.
        num_pairs: Number of pairs.
        distance: The distance.
    """
    parts = images.reshape(len(layers) + 2, num_pairs, *images.shape[1:])
    return [
        {
            'index': layer.index,
            'block': layer.size,
            'layers': list(layer.modules),
            'mean': float(np.mean(distance.of(parts[0], parts[1 + layer.index]))),
        }
        for layer in layers
    ]


def print_report(rows: Sequence[dict[str, Any]], distance: str, num_pairs: int) -> None:
    """Prints the distances as a table with bars.

    Args:
        rows: The result of `measured`.
        distance: Name of the distance.
        num_pairs: Number of pairs.
    """
    print(f'mean over {num_pairs} pairs of the distance between the row image and its mixture: {distance}')
    most = max(row['mean'] for row in rows) or 1
    for row in rows:
        bar = '#' * round(30 * row['mean'] / most)
        print(f'{row["index"]:5}  {row["block"]:10}  {row["mean"]:10.4f}  {bar}')


def write_report(path: Path, rows: Sequence[dict[str, Any]], distance: str, pairs: Sequence[str], text: Any) -> None:
    """Writes the report as JSON.

    Args:
        path: The file.
        rows: The result of `measured`.
        distance: Name of the distance.
        pairs: Names of the pairs.
        text: Fields that name the network and the settings.
    """
    write_json(path, {'distance': distance, 'layers': list(rows), 'pairs': list(pairs), **text})
