"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991).

Letters: N and M items of two sets, B items of a block, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dnnlib.errors import DataError

BLOCK_ELEMENTS = 2**24  # distances held at a time: 128 MiB


def precision_recall(real: torch.Tensor, fake: torch.Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Share of fakes within the manifold of the reals, and of reals within that of the fakes; both in [0, 1].

    Takes features [N, D] and [M, D]; distances are float64. DataError unless both sets exceed `neighbours`.
    """
    if min(len(real), len(fake)) <= neighbours:
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'precision and recall with {neighbours} neighbours need more images than that, got {counts}')
    real, fake = real.double(), fake.double()
    return manifold_coverage(fake, real, neighbours), manifold_coverage(real, fake, neighbours)


def manifold_coverage(queries: torch.Tensor, members: torch.Tensor, neighbours: int) -> float:
    """The share of queries [N, D] in the manifold that members [M, D] span with their neighbourhoods."""
    radii = squared_radii(members, neighbours)  # [M]
    # Eq. (1): f(φ, Φ) = 1 where ‖φ − φ'‖ ≤ ‖φ' − NN_k(φ', Φ)‖ for at least one φ' in Φ
    inside = [(block <= radii).any(dim=1) for _, block in distance_blocks(queries, members)]
    return float(torch.cat(inside).double().mean())


def squared_radii(members: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Squared distance of each member [M, D] to its k-th nearest other member, [M]."""
    radii = []
    for start, block in distance_blocks(members, members):  # [B, M]
        block.diagonal(offset=start).fill_(torch.inf)  # a member is not its own neighbour
        radii.append(block.kthvalue(neighbours, dim=1).values)
    return torch.cat(radii)


def distance_blocks(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Squared Euclidean distances of x [N, D] to all of y [M, D], as (first row, [B, M]) blocks of rows."""
    y_norms = y.square().sum(dim=1)  # [M]
    rows = max(1, BLOCK_ELEMENTS // len(y))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]  # [B, D]
        squares = block.square().sum(dim=1, keepdim=True) + y_norms - 2 * block @ y.T
        yield start, squares.clamp_(min=0)
