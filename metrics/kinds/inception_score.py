"""Inception score (Salimans et al. 2016, arXiv:1606.03498), over the classes of whichever network.

Letters: N images, K classes.
"""

from __future__ import annotations

import itertools

import torch

from dnnlib.errors import DataError


def inception_score(probabilities: torch.Tensor, *, num_splits: int = 10) -> tuple[float, float]:
    """Mean and (population) standard deviation of the score over contiguous splits of probabilities [N, K].

    Between 1 and K, higher is better. Computed in float64. DataError where a split would be empty.
    """
    if len(probabilities) < num_splits:
        raise DataError(f'the Inception score over {num_splits} splits needs as many images, got {len(probabilities)}')
    bounds = [len(probabilities) * split // num_splits for split in range(num_splits + 1)]
    probabilities = probabilities.double()
    scores = torch.stack([_score(probabilities[a:b]) for a, b in itertools.pairwise(bounds)])
    return float(scores.mean()), float(scores.std(correction=0))


def _score(probabilities: torch.Tensor) -> torch.Tensor:
    # Sec. 4: exp(E_x KL(p(y|x) ‖ p(y))), with 0 log 0 = 0
    marginal = probabilities.mean(dim=0, keepdim=True)  # [1, K]
    divergence = torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, marginal)
    return divergence.sum(dim=1).mean().exp()
