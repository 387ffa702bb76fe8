"""The inputs of one metric: samples of real and generated images through a detector, or distances of pairs.

Letters: N images, D feature width, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from metrics.extraction import Extraction, Moments

# Number of images -> the classes of the first ones of a stream, int64 [N]; None if they have none.
Classes = Callable[[int], torch.Tensor | None]


def undeclared_classes(num_images: int) -> torch.Tensor:
    """Raises AssertionError: the registration of the metric does not declare that it reads classes."""
    raise AssertionError('registered with uses_classes=False')


class ImageSample:
    """The first images of a stream, through a detector.

    Args:
        extraction: Output of the detector.
        num_items: Number of images.
        device: Device of the features; it must support float64.
        classes: Returns the classes of the images; None if they have none.
    """

    def __init__(
        self,
        extraction: Extraction,
        num_items: int,
        device: torch.device | str = 'cpu',
        classes: Classes | None = None,
    ) -> None:
        self.num_items = num_items
        self._classes = classes
        self._extraction = extraction
        self._device = device

    @functools.cached_property
    def features(self) -> torch.Tensor:
        """Pooled features [N, D], float32 on the device of comparison."""
        return self._extraction.features(self.num_items).to(self._device)

    @functools.cached_property
    def classes(self) -> torch.Tensor | None:
        """Classes of the images, int64 [N] on the CPU; None for images without classes."""
        return None if self._classes is None else self._classes(self.num_items)

    @property
    def moments(self) -> Moments:
        """Mean [D] and covariance [D, D] of the features, float64 on the CPU."""
        return self._extraction.moments(self.num_items)

    @property
    def probabilities(self) -> torch.Tensor:
        """Class probabilities [N, K], float32 on the CPU."""
        return self._extraction.probabilities(self.num_items)


@dataclass(frozen=True, kw_only=True)
class MetricInputs:
    """Everything that a metric may read; see the properties of `metrics.registry.Metric`.

    Attributes:
        num_items: Number of generated images, for metrics of paths of pairs.
        fakes: Generated images; None for metrics of paths and of moves.
        reals: Real images; None without `uses_reals`.
        distances: Distances of pairs, float64 [N], or [N, 2] for metrics of moves; None for metrics of images.
        neighbors: Size of a neighborhood, 0 if there are none.
    """

    num_items: int
    fakes: ImageSample | None = None
    reals: ImageSample | None = None
    distances: torch.Tensor | None = None
    neighbors: int = 0
