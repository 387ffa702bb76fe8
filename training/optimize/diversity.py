"""Diversity of images: how much those of one class differ from each other, relative to real images.

A conditional generator can draw one picture per class: its images differ from class to class, a distance of
distributions may even improve, and the latent has no effect. Only a comparison within classes shows it.

This is the measure of the guardian and of compare.py: mean distances of pairs, over the pixels of one sheet of images,
which need no detector. The metric `div` (metrics/kinds/diversity.py) has the same idea for the features of 50,000
images: root mean squares of distances, which follow from variances without forming the pairs. Numbers of the two are
not comparable.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 8  # width and height to which `without_detail` averages, in pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """Diversity of images relative to that of real images: 0 for copies of one image, 1 for that of the real images.

    Attributes:
        mean: Mean over the classes.
        least: Minimum over the classes.
    """

    mean: float
    least: float


def without_detail(images: torch.Tensor) -> torch.Tensor:
    """Returns uint8 [N, C, H, W] averaged to float64 [N, C, 8, 8], in which noise hardly counts."""
    return F.adaptive_avg_pool2d(images.double(), SIDE)


def relative_diversity(
    fakes: torch.Tensor, fake_classes: torch.Tensor, reals: torch.Tensor, real_classes: torch.Tensor
) -> Diversity | None:
    """Compares the differences within each class of generated images with those of real images.

    Args:
        fakes: Generated images [N, C, H, W].
        fake_classes: Their classes, int64 [N]; all 0 for images without classes.
        reals: Real images of the same C, H and W.
        real_classes: Their classes.

    Returns:
        The diversity over the classes with two images of either kind whose real images differ; None if there are none.
    """
    ratios = []
    for k in real_classes.unique().tolist():
        ours, theirs = fakes[fake_classes == k], reals[real_classes == k]
        if min(len(ours), len(theirs)) < 2 or (real := mean_distance(theirs)) == 0:
            continue
        ratios.append(mean_distance(ours) / real)
    return Diversity(mean=sum(ratios) / len(ratios), least=min(ratios)) if ratios else None


def mean_distance(images: torch.Tensor) -> float:
    """Returns the mean distance of two of the images [N, C, H, W], N > 1: root mean square over pixels."""
    pixels = images.flatten(1).double()  # [N, C * H * W]
    distances = torch.pdist(pixels).numpy()  # NumPy's sum does not depend on the number of threads
    return float(distances.mean()) / math.sqrt(pixels.shape[1])


def classes_of(labels: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Returns the classes of labels [N, label_dim], int64 [N]: all 0 unless every label is one-hot."""
    labels = torch.as_tensor(labels)
    if not labels.shape[1] or not are_one_hot(labels):
        return torch.zeros(len(labels), dtype=torch.int64)
    return labels.argmax(dim=1)


def are_one_hot(labels: torch.Tensor) -> bool:
    """Returns whether every row of labels [N, label_dim] is a 1 among zeros."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(dim=1) == 1).all())
