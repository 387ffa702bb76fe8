"""Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991).

Letters: N real and M generated items, D feature width, B items of a block.
"""

from __future__ import annotations

import torch

from dnnlib.errors import DataError
from metrics.kinds.neighbors import BLOCK_ELEMENTS, Neighborhood, NeighborhoodMetric, about_mean, distance_blocks
from metrics.registry import register_metric


def precision_recall(
    real: torch.Tensor, fake: torch.Tensor, *, neighbors: int = 3, block: int = BLOCK_ELEMENTS
) -> tuple[float, float]:
    """Computes the share of fakes within the manifold of the reals, and of reals within that of the fakes.

    Args:
        real: Features [N, D] with N above `neighbors`.
        fake: Features [M, D] with M above `neighbors`.
        neighbors: k, which does not count the item itself; 3 in the official metric.
        block: Number of distances held at a time.

    Returns:
        Precision and recall, both in [0, 1].

    Raises:
        DataError: There are too few items.
    """
    if min(len(real), len(fake)) <= neighbors:
        counts = f'{len(real)} real and {len(fake)} generated'
        raise DataError(f'precision and recall with {neighbors} neighbors need more images than that, got {counts}')
    real, fake = about_mean(real, fake)
    return manifold_shares(Neighborhood(real, neighbors, block=block), fake)


def manifold_shares(reals: Neighborhood, fake: torch.Tensor) -> tuple[float, float]:
    """Returns `precision_recall` of reals with a known manifold and fake [M, D] about the same mean."""
    fakes = Neighborhood(fake, reals.neighbors, block=reals.block)
    # Eq. (1): f(φ, Φ) = 1 if ‖φ − φ'‖ ≤ ‖φ' − NN_k(φ', Φ)‖ for at least one φ' in Φ; Eq. (2): its two means
    num_precise, recalled = 0, torch.zeros(len(reals), dtype=torch.bool, device=fake.device)
    for start, distances, error in distance_blocks(fake, reals.members, reals.block):  # [B, N]
        radii = fakes.radii[start : start + len(distances), None]
        num_precise += int((distances <= reals.radii + error).any(dim=1).sum())
        recalled |= (distances <= radii + error).any(dim=0)
    return num_precise / len(fake), float(recalled.double().mean())


@register_metric(
    'pr',
    pattern='pr_{}50k3_full',
    official='pr',
    detector='vgg16',
    neighbors=3,
    max_reals=200_000,
    lower_is_better=False,
)
class PrecisionRecall(NeighborhoodMetric):
    """The metric `pr`: precision and recall."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns precision and recall of the generated images at positions `chosen`."""
        reals, fake = self.about_real_mean
        precision, recall = manifold_shares(reals, fake[chosen])
        return {'precision': precision, 'recall': recall}
