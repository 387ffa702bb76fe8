"""Nearest neighbours among features: exact decisions at the speed of float32 products, in bounded memory.

Distances come in blocks from float32 products. Wherever their rounding error could decide, the pairs in question are
taken again, difference by difference in float64: whether a point lies in a ball does not depend on the device, the
blocks or the number of threads, and ties and copies come out as ties.

Letters: N members of a set, M queries, B queries of a block, D feature width, K candidates, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from metrics.determinism import deterministic_float32

BLOCK_ELEMENTS = 2**24  # distances held at a time: 64 MiB
PAIR_ELEMENTS = 2**22  # elements of the differences held at a time: 32 MiB
SPARE = 8  # candidates beyond the k nearest of the float32 distances, among which float64 chooses


class Neighbourhood:
    """Features [N, D] with the ball of each: as far as its k-th nearest other member.

    members: float32; see `about_mean`. neighbours: k, at least 1 and below N. block: distances held at a time.
    """

    def __init__(self, members: torch.Tensor, neighbours: int, *, block: int = BLOCK_ELEMENTS) -> None:
        assert 1 <= neighbours < len(members)
        self.members = members  # [N, D]
        self.neighbours = neighbours
        self.block = block
        radii = []
        for start, distances in distance_blocks(members, members, block):  # [B, N]
            distances.diagonal(offset=start).fill_(torch.inf)  # a member is not its own neighbour
            queries = members[start : start + len(distances)]
            num_candidates = min(neighbours + SPARE, len(members) - 1)
            radii.append(_nearest(distances, queries, members, num_candidates)[0][:, neighbours - 1])
        self.radii = torch.cat(radii)  # [N] float64, squared

    def __len__(self) -> int:
        return len(self.members)

    def inside(self, queries: torch.Tensor) -> Iterator[torch.Tensor]:
        """Whether queries [M, D] lie in each member's ball, border included: bool [B, N], block by block."""
        member_norms = self.members.square().sum(dim=1)  # [N]
        radii = self.radii.float()
        for start, distances in distance_blocks(queries, self.members, self.block):  # [B, N]
            block = queries[start : start + len(distances)]
            gap = distances - radii
            rows, columns = (gap.abs() <= _error_bound(block, member_norms)).nonzero(as_tuple=True)
            result = gap <= 0
            result[rows, columns] = _pair_distances(block, self.members, rows, columns) <= self.radii[columns]
            yield result

    def nearest(self, queries: torch.Tensor, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest members of queries [M, D]: squared distances [M, count] float64, ascending, and indices."""
        num_candidates = min(count + SPARE, len(self.members))
        found = [
            _nearest(distances, queries[start : start + len(distances)], self.members, num_candidates)
            for start, distances in distance_blocks(queries, self.members, self.block)
        ]
        return torch.cat([d[:, :count] for d, _ in found]), torch.cat([i[:, :count] for _, i in found])


def about_mean(real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets in float32 about the mean of the first: distances do not know it, their rounding errors do."""
    centre = real.double().mean(dim=0)  # [D]
    return (real - centre).float(), (fake - centre).float()


def distance_blocks(x: torch.Tensor, y: torch.Tensor, block: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Squared distances of x [M, D] to all of y [N, D] in float32, as (first row, [B, N]) blocks of rows."""
    y_norms = y.square().sum(dim=1)  # [N]
    num_rows = max(1, block // len(y))
    for start in range(0, len(x), num_rows):
        rows = x[start : start + num_rows]  # [B, D]
        with deterministic_float32():
            squares = torch.addmm(y_norms, rows, y.T, alpha=-2)
        squares += rows.square().sum(dim=1, keepdim=True)
        yield start, squares.clamp_(min=0)


def _nearest(
    distances: torch.Tensor, queries: torch.Tensor, members: torch.Tensor, num_candidates: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The candidates by float32 distances [B, N] in their order by float64: distances [B, K], whose they are [B, K]."""
    candidates = distances.topk(num_candidates, dim=1, largest=False).indices.sort(dim=1).values  # [B, K]
    rows = torch.arange(len(queries), device=queries.device).repeat_interleave(num_candidates)
    exact = _pair_distances(queries, members, rows, candidates.flatten()).view_as(candidates)
    order = exact.argsort(dim=1, stable=True)  # equal distances by index
    return exact.gather(1, order), candidates.gather(1, order)


def _error_bound(queries: torch.Tensor, member_norms: torch.Tensor) -> torch.Tensor:
    """How far a squared distance by float32 products may be off, [B, N].

    A sum of D products is off by at most D eps times the norms, and in truth, the errors having two signs, by about
    sqrt(D) eps; four times that is taken.
    """
    dim = queries.shape[1]
    unit = 4 * max(dim, 4) ** 0.5 * torch.finfo(torch.float32).eps
    return unit * (queries.square().sum(dim=1, keepdim=True) + member_norms)


def _pair_distances(x: torch.Tensor, y: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Squared distances of the pairs (x[rows], y[columns]), [P] float64, by differences."""
    size = max(1, PAIR_ELEMENTS // x.shape[1])
    parts = [
        (x[i].double() - y[j].double()).square().sum(dim=1)
        for i, j in zip(rows.split(size), columns.split(size), strict=True)
    ]
    return torch.cat(parts)
