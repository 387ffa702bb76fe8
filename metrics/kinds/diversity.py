"""Diversity within classes: how much the generated images of a class differ, relative to the real ones of the class.

A conditional generator that ignores its latent draws one picture per class. Distances of distributions hardly see it,
since the classes still differ. The measure is this project's own; it says nothing about quality. During training, the
guardian measures the same idea on the pixels of its few samples (training/optimize/diversity.py).

Letters: N real and M generated items, D feature width, K classes.
"""

from __future__ import annotations

import torch

from dnnlib.errors import DataError
from metrics.registry import Metric, register_metric


def class_diversity(
    real: torch.Tensor, real_classes: torch.Tensor, fake: torch.Tensor, fake_classes: torch.Tensor
) -> tuple[float, float]:
    """Compares the spread of generated features within each class with that of real ones.

    The spread of a class is the root of the total variance of its features, the root mean square distance of two items
    but for a factor.

    Args:
        real: Features [N, D].
        real_classes: Their classes, int64 [N].
        fake: Features [M, D].
        fake_classes: Their classes, int64 [M].

    Returns:
        Mean and minimum over the classes of the ratio of the two spreads: 0 for one picture per class, 1 for the
        spread of the real images. Classes with fewer than two items of either kind are left out.

    Raises:
        DataError: No class has two real items that differ and two generated ones.
    """
    ratios = []
    for k in real_classes.unique().tolist():
        theirs, ours = real[(real_classes == k).to(real.device)], fake[(fake_classes == k).to(fake.device)]
        if min(len(theirs), len(ours)) >= 2 and (spread := total_variance(theirs)) > 0:
            ratios.append((total_variance(ours) / spread) ** 0.5)
    if not ratios:
        raise DataError('diversity within classes needs two different real images and two generated ones of a class')
    return sum(ratios) / len(ratios), min(ratios)


def total_variance(features: torch.Tensor) -> float:
    """Returns the sum of the variances of features [N, D], unbiased; N > 1."""
    return features.double().var(dim=0).sum().item()


@register_metric(
    'div',
    pattern='div_{}50k_full',
    min_images=2,
    min_images_reason='one image does not differ',
    max_reals=200_000,
    uses_classes=True,
    lower_is_better=False,
)
class ClassDiversity(Metric):
    """The metric `div`. Without classes, of the reals or of the generated images, all images are one class."""

    def of(self, chosen: torch.Tensor, seed: int) -> dict[str, float]:
        """Returns the mean and the minimum over the classes for the generated images at positions `chosen`."""
        real, fake = self.reals.features, self.fakes.features
        fake_classes = self.fakes.classes
        real_classes = None if fake_classes is None else self.reals.classes  # labels that nobody needs are not read
        if real_classes is None or fake_classes is None:
            real_classes, fake_classes = torch.zeros(len(real)), torch.zeros(len(fake))
        mean, least = class_diversity(real, real_classes, fake[chosen], fake_classes[chosen])
        return {'mean': mean, 'min': least}
