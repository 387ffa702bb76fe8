"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991).

Letters: N and M items of two sets, B items of a block, D feature width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dnnlib.errors import DataError
from metrics.determinism import deterministic_float32

BLOCK_ELEMENTS = 2**24  # distances held at a time: 64 MiB


def precision_recall(real: torch.Tensor, fake: torch.Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Share of fakes within the manifold of the reals, and of reals within that of the fakes; both in [0, 1].

    Takes features [N, D] and [M, D]; distances are float32. DataError unless both sets exceed `neighbours`.
    """
    if min(len(real), len(fake)) <= neighbours:
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'precision and recall with {neighbours} neighbours need more images than that, got {counts}')
    # About their mean the squared norms are smallest, and with them the rounding errors of the distances.
    centre = real.double().mean(dim=0)
    real, fake = ((features - centre).float() for features in (real, fake))
    with deterministic_float32():
        real_radii, fake_radii = squared_radii(real, neighbours), squared_radii(fake, neighbours)
        fake_inside, real_inside = [], []
        for start, block in distance_blocks(real, fake):  # [B, M]
            # Eq. (1): f(φ, Φ) = 1 where ‖φ − φ'‖ ≤ ‖φ' − NN_k(φ', Φ)‖ for at least one φ' in Φ
            fake_inside.append((block <= real_radii[start : start + len(block), None]).any(dim=0))
            real_inside.append((block <= fake_radii).any(dim=1))
    precision, recall = torch.stack(fake_inside).any(dim=0), torch.cat(real_inside)
    return float(precision.double().mean()), float(recall.double().mean())


def squared_radii(members: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Squared distance of each member [N, D] to its k-th nearest other member, [N]."""
    radii = []
    for start, block in distance_blocks(members, members):  # [B, N]
        block.diagonal(offset=start).fill_(torch.inf)  # a member is not its own neighbour
        radii.append(block.topk(neighbours, dim=1, largest=False).values[:, -1])
    return torch.cat(radii)


def distance_blocks(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """Squared Euclidean distances of x [N, D] to all of y [M, D], as (first row, [B, M]) blocks of rows."""
    y_norms = y.square().sum(dim=1)  # [M]
    rows = max(1, BLOCK_ELEMENTS // len(y))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]  # [B, D]
        squares = torch.addmm(y_norms, block, y.T, alpha=-2) + block.square().sum(dim=1, keepdim=True)
        yield start, squares.clamp_(min=0)
