"""Inception score (Salimans et al. 2016, arXiv:1606.03498), over the classes of any detector with a classifier.

Letters: N images, K classes.
"""

from __future__ import annotations

import itertools

import torch

from dnnlib.errors import DataError
from metrics.registry import Metric, register_metric

NUM_SPLITS = 10


def inception_score(probabilities: torch.Tensor, *, num_splits: int = NUM_SPLITS) -> tuple[float, float]:
    """Computes the score in contiguous splits, in float64.

    Args:
        probabilities: Class probabilities [N, K].
        num_splits: Number of splits, at most N / 2: the score of a split with one image is always 1.

    Returns:
        Mean over the splits, between 1 and K (higher is better), and the population standard deviation.

    Raises:
        DataError: A split would have fewer than two images.
    """
    if len(probabilities) < 2 * num_splits:
        needs = f'needs {2 * num_splits} images, two per split'
        raise DataError(f'the Inception score over {num_splits} splits {needs}, got {len(probabilities)}')
    bounds = [len(probabilities) * split // num_splits for split in range(num_splits + 1)]
    probabilities = probabilities.double()
    scores = torch.stack([_score(probabilities[a:b]) for a, b in itertools.pairwise(bounds)])
    return float(scores.mean()), float(scores.std(correction=0))


def _score(probabilities: torch.Tensor) -> torch.Tensor:
    # Sec. 4: exp(E_x KL(p(y|x) ‖ p(y))), with 0 log 0 = 0
    marginal = probabilities.mean(dim=0, keepdim=True)  # [1, K]
    divergence = torch.xlogy(probabilities, probabilities) - torch.xlogy(probabilities, marginal)
    return divergence.sum(dim=1).mean().exp()


@register_metric(
    'is',
    pattern='is_{}50k',
    official='is',
    detector='inception',
    needs='probabilities',
    uses_reals=False,
    min_images=2 * NUM_SPLITS,
    min_images_reason=f'it is the mean over {NUM_SPLITS} parts, and the score of a part with one image is always 1',
    lower_is_better=False,
    without_error=('std',),  # a spread itself
)
class InceptionScore(Metric):
    """The metric `is`: mean and standard deviation of the Inception score over ten splits."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the score of the generated images at positions `chosen`."""
        mean, std = inception_score(self.fakes.probabilities[chosen])
        return {'mean': mean, 'std': std}
