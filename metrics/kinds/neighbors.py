"""Nearest neighbors among features, in bounded memory.

Distances come from float64 products, in blocks. Differences below the rounding error count as equality, and the border
belongs to the ball: ties and copies are recognized, and no decision depends on the block size, the device or the number
of threads. float32 would be twice as fast on a CPU but cannot distinguish the images of a collapsed generator.

Letters: N members of a set, M queries, B queries of a block, D feature width.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from metrics.finite import check_finite
from metrics.registry import Metric

BLOCK_ELEMENTS = 2**24  # distances held at a time: 128 MiB


class Neighborhood:
    """Features [N, D] with the ball of each, whose radius is the distance to its k-th nearest other member.

    Args:
        members: Features [N, D], float64; see `about_mean`.
        neighbors: k, at least 1 and below N.
        block: Number of distances held at a time.
    """

    def __init__(self, members: torch.Tensor, neighbors: int, *, block: int = BLOCK_ELEMENTS) -> None:
        assert 1 <= neighbors < len(members)
        self.members = members  # [N, D]
        self.neighbors = neighbors
        self.block = block
        radii = []
        for start, distances, _ in distance_blocks(members, members, block):  # [B, N]
            distances.diagonal(offset=start).fill_(torch.inf)  # a member is not its own neighbor
            radii.append(distances.topk(neighbors, dim=1, largest=False).values[:, -1])
        self.radii = torch.cat(radii)  # [N], squared

    def __len__(self) -> int:
        return len(self.members)

    def inside(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yields, per block, whether queries [M, D] are in each member's ball, border included: bool [B, N]."""
        for _, distances, error in distance_blocks(queries, self.members, self.block):  # [B, N]
            yield distances <= self.radii + error

    def nearest(self, queries: torch.Tensor, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Finds the nearest members of each query.

        Args:
            queries: Features [M, D], float64, about the same mean as the members.
            count: Number of members per query.

        Returns:
            Squared distances [M, count], ascending, and indices [M, count].
        """
        found = [
            distances.topk(count, dim=1, largest=False)
            for _, distances, _ in distance_blocks(queries, self.members, self.block)
        ]
        return torch.cat([values for values, _ in found]), torch.cat([indices for _, indices in found])


def about_mean(real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns both sets in float64 minus the mean of the first, which reduces the rounding error of distances."""
    real, fake = real.double(), fake.double()
    check_finite('the neighbors of features', real, fake)
    center = real.mean(dim=0)  # [D]
    return real - center, fake - center


def distance_blocks(x: torch.Tensor, y: torch.Tensor, block: int) -> Iterator[tuple[int, torch.Tensor, float]]:
    """Yields squared distances of x to all of y, block by block; distances up to their rounding error are 0.

    Args:
        x: Features [M, D], float64.
        y: Features [N, D], float64.
        block: Number of distances held at a time.

    Returns:
        Iterator of (first row of the block, distances [B, N], bound of their rounding error).
    """
    x_norms, y_norms = (v.square().sum(dim=1) for v in (x, y))  # [M], [N]
    # Three sums of D products of two numbers each, and as much again for the numbers that they are compared with.
    error = 4 * x.shape[1] * torch.finfo(x.dtype).eps * float(x_norms.max() + y_norms.max())
    num_rows = max(1, block // len(y))
    for start in range(0, len(x), num_rows):
        squares = torch.addmm(y_norms, x[start : start + num_rows], y.T, alpha=-2)  # [B, N]
        squares += x_norms[start : start + num_rows, None]
        yield start, torch.threshold_(squares, error, 0.0), error


class NeighborhoodMetric(Metric):
    """Base class of metrics that compare generated images with the balls of the real ones."""

    @functools.cached_property
    def about_real_mean(self) -> tuple[Neighborhood, torch.Tensor]:
        """The reals with their balls, and the fakes about the same mean [M, D]; k is 1 for kinds without neighbors."""
        real, fake = about_mean(self.reals.features, self.fakes.features)
        return Neighborhood(real, self.neighbors or 1), fake
