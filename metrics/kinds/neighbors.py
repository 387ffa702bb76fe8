"""Nearest neighbours among features, in bounded memory.

Distances come from float64 products, in blocks. What lies nearer to a border than their rounding error is on the
border, and the border belongs to the ball: so ties and copies are told as such, and no block size, device or number of
threads shows in a decision. float32 would be twice as fast on a CPU and cannot tell the images of a generator that has
collapsed from one another.

Letters: N members of a set, M queries, B queries of a block, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

BLOCK_ELEMENTS = 2**24  # distances held at a time: 128 MiB


class Neighbourhood:
    """Features [N, D] with the ball of each: as far as its k-th nearest other member.

    members: float64; see `about_mean`. neighbours: k, at least 1 and below N. block: distances held at a time.
    """

    def __init__(self, members: torch.Tensor, neighbours: int, *, block: int = BLOCK_ELEMENTS) -> None:
        assert 1 <= neighbours < len(members)
        self.members = members  # [N, D]
        self.neighbours = neighbours
        self.block = block
        radii = []
        for start, distances, _ in distance_blocks(members, members, block):  # [B, N]
            distances.diagonal(offset=start).fill_(torch.inf)  # a member is not its own neighbour
            radii.append(distances.topk(neighbours, dim=1, largest=False).values[:, -1])
        self.radii = torch.cat(radii)  # [N], squared

    def __len__(self) -> int:
        return len(self.members)

    def inside(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        """Whether queries [M, D] lie in each member's ball, border included: bool [B, N], block by block."""
        for _, distances, error in distance_blocks(queries, self.members, self.block):  # [B, N]
            yield distances <= self.radii + error

    def nearest(self, queries: torch.Tensor, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest members of queries [M, D]: squared distances [M, count], ascending, and indices [M, count]."""
        found = [
            distances.topk(count, dim=1, largest=False)
            for _, distances, _ in distance_blocks(queries, self.members, self.block)
        ]
        return torch.cat([values for values, _ in found]), torch.cat([indices for _, indices in found])


def about_mean(real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets in float64 about the mean of the first: distances do not know it, their rounding errors do."""
    real, fake = real.double(), fake.double()
    centre = real.mean(dim=0)  # [D]
    return real - centre, fake - centre


def distance_blocks(x: torch.Tensor, y: torch.Tensor, block: int) -> Iterator[tuple[int, torch.Tensor, float]]:
    """Squared distances of x [M, D] to all of y [N, D], float64, as (first row, [B, N], what they may be off by).

    What is not larger than its error is zero.
    """
    x_norms, y_norms = (v.square().sum(dim=1) for v in (x, y))  # [M], [N]
    # Three sums of D products, of two numbers each, and as much again for what they are compared with.
    error = 4 * x.shape[1] * torch.finfo(x.dtype).eps * float(x_norms.max() + y_norms.max())
    num_rows = max(1, block // len(y))
    for start in range(0, len(x), num_rows):
        squares = torch.addmm(y_norms, x[start : start + num_rows], y.T, alpha=-2)  # [B, N]
        squares += x_norms[start : start + num_rows, None]
        yield start, torch.threshold_(squares, error, 0.0), error
