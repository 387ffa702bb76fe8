"""The interface of a detector: the feature network through which metrics see images.

This module imports no PyTorch, so that the table of detectors can be read before PyTorch is loaded.

Letters: N batch, C image channels, H and W image height and width, D feature width, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch


class Features(NamedTuple):
    """Output of a detector for a batch of images."""

    pooled: torch.Tensor  # [N, D] float32
    probabilities: torch.Tensor | None  # [N, K] float32, rows sum to 1; None without a classifier


class Detector(Protocol):
    """A feature network with everything that decides its numbers: the weights and the preparation of images.

    A call is deterministic, takes images of any size and number of channels (see `metrics.streams.images.to_rgb`), and
    does not modify them.

    Attributes:
        name: Key of `metrics.detectors.table.DETECTORS`, part of the name of every metric that uses the detector.
        digest: sha256 of the weights.
        preprocessing: Resizing, range and version in words. It belongs to the key of the statistics cache: any change
            of the features that the digest does not show needs another text.
        feature_dim: D.
        num_classes: K, 0 without a classifier.
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def preprocessing(self) -> str: ...

    @property
    def feature_dim(self) -> int: ...

    @property
    def num_classes(self) -> int: ...

    def __call__(
        self,
        images: torch.Tensor,  # [N, C, H, W] uint8
    ) -> Features: ...


class DetectorClass(Protocol):
    """The constructor of a detector, and the question whether it can be built."""

    def __call__(self, device: torch.device | str = 'cpu', /) -> Detector:
        """Builds the detector on a device. Raises UserError without its weights."""

    def available(self) -> bool:
        """Returns whether the detector can be built without a download."""
