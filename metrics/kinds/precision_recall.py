"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991).

Letters: N real and M generated items, D feature width.
"""

from __future__ import annotations

import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighbourhood, about_mean, distance_blocks


def precision_recall(
    real: torch.Tensor, fake: torch.Tensor, *, neighbours: int = 3, block: int = BLOCK_ELEMENTS
) -> tuple[float, float]:
    """Share of fakes within the manifold of the reals, and of reals within that of the fakes; both in [0, 1].

    Takes features [N, D] and [M, D]. The k-th neighbour does not count the item itself; officially k is 3. block:
    distances held at a time. DataError unless both sets exceed `neighbours`.
    """
    if min(len(real), len(fake)) <= neighbours:
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'precision and recall with {neighbours} neighbours need more images than that, got {counts}')
    real, fake = about_mean(real, fake)
    return manifold_shares(Neighbourhood(real, neighbours, block=block), fake)


def manifold_shares(reals: Neighbourhood, fake: torch.Tensor) -> tuple[float, float]:
    """`precision_recall` where the manifold of the reals has been made; fake [M, D] about the same mean."""
    fakes = Neighbourhood(fake, reals.neighbours, block=reals.block)
    # Eq. (1): f(φ, Φ) = 1 where ‖φ − φ'‖ ≤ ‖φ' − NN_k(φ', Φ)‖ for at least one φ' in Φ; Eq. (2): its two means
    num_precise, recalled = 0, torch.zeros(len(reals), dtype=torch.bool, device=fake.device)
    for start, distances, error in distance_blocks(fake, reals.members, reals.block):  # [B, N]
        radii = fakes.radii[start : start + len(distances), None]
        num_precise += int((distances <= reals.radii + error).any(dim=1).sum())
        recalled |= (distances <= radii + error).any(dim=0)
    return num_precise / len(fake), float(recalled.double().mean())
