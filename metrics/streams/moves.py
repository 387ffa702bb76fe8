"""Streams of images of a still and of a moved input of the generator, for the metrics of equivariance.

The generator is on the other side of `Moves`. Letters: N images of a part, C channels, H and W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from metrics.equivariance import errors
from metrics.registry import Motion
from metrics.streams.shares import Observer

BATCH = 4  # images with one motion; part of the definition

# Positions in parts of `BATCH` -> for each part the images, float [N, 2, C, H, W], still and moved, and the motion: t
# [2], the shares of width and height, or alpha [1] in radians.
MoveStream = Callable[[Iterable[range]], Iterator[tuple[torch.Tensor, torch.Tensor]]]


def move_observer(moves: MoveStream, motion: Motion) -> Observer:
    """Makes the observer of a stream of moves: from parts to the sums of `equivariance.errors`, [N, 2] for each."""

    @torch.no_grad()
    def observe(parts: Sequence[range]) -> Iterator[torch.Tensor]:
        for images, by in moves(parts):
            yield errors(motion, images[:, 0], images[:, 1], by)

    return observe
