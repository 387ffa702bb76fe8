"""The training image that is nearest to a picture, by features that measuring has left in the cache.

Letters: N real images, C channels, H and W image size, D feature width.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch

from dnnlib.errors import ConfigError
from ganfoundry.explore.encode import png_of
from ganfoundry.reals import data_sets
from ganfoundry.subjects import reference, whole
from metrics.cache import Cache
from metrics.detectors.interface import Detector
from metrics.detectors.table import DETECTORS
from metrics.extraction import Extraction, Requirements
from metrics.reference import Reference, SeenReference
from training.data.dataset import ImageDataset
from training.data.stored_image import to_8_bits
from training.run.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """The nearest training image.

    Attributes:
        index: Its position in the data set.
        ratio: Its distance to the picture, in units of its distance to its own nearest neighbor; below 1 is suspicious.
        detector: Name of the detector whose features are compared.
        num_images: N.
    """

    index: int
    ratio: float
    detector: str
    num_images: int


class TrainingImages:
    """The images that a network learned from. Opened when they are first asked for; may be used by several threads.

    Args:
        snapshot: The network's record.
        path: Name of the network in messages.
        device: Device of the detector.
    """

    def __init__(self, snapshot: Snapshot, path: str, device: torch.device) -> None:
        self._snapshot, self._path, self._device = snapshot, path, device
        self._lock = threading.Lock()
        self._images: ImageDataset | None = None
        self._detector: Detector | None = None
        self._features = torch.empty(0)  # float64 [N, D]

    def nearest(self, image: np.ndarray) -> Nearest:
        """Returns the training image that is nearest to an image [C, H, W].

        Raises:
            UserError: If the images are not here, or if the cache has no features of them.
        """
        with self._lock:
            detector = self._open()
            pixels = torch.from_numpy(np.ascontiguousarray(to_8_bits(image)))[None]
            fake = detector(pixels).pooled[0].double().cpu()  # [D]
            distances = (self._features - fake).square().sum(dim=1)  # [N]
            index = int(distances.argmin())
            own = (self._features - self._features[index]).square().sum(dim=1)
            own[index] = torch.inf
            ratio = float((distances[index] / own.min()).sqrt())
            return Nearest(index=index, ratio=ratio, detector=detector.name, num_images=len(own))

    def png(self, index: int) -> bytes:
        """Returns the training image at a position as a PNG. Raises ConfigError if there is none."""
        with self._lock:
            if self._images is None or not 0 <= index < len(self._images):
                raise ConfigError(f'{index}: no such training image')
            (image,) = next(iter(self._images.parts([range(index, index + 1)])))  # [C, H, W]
        return png_of(np.asarray(image), {})

    def _open(self) -> Detector:
        """Returns the detector whose features of all images are in the cache."""
        if self._detector is not None:
            return self._detector
        found = data_sets(self._snapshot, None, None, needs_reals=True, notify=lambda text: None)
        assert found.reals is not None
        sets = {images: reference(images) for images in (whole(found.reals), found.reals)}
        for entry in DETECTORS.values():
            if not entry.load().available():
                continue
            detector = entry.load()(self._device)
            for images, reals in sets.items():
                if (features := cached_features(reals, detector)) is not None:
                    self._images, self._detector, self._features = images, detector, features
                    return detector
        raise ConfigError(
            'the cache has no features of the training images; they are kept after '
            f'calc_metrics.py --network={self._path} --metrics=mem_efflite1k_full'
        )


def cached_features(reals: Reference, detector: Detector) -> torch.Tensor | None:
    """Returns the features of all images from the cache of metrics, float64 [N, D]; None if it does not have them."""

    def absent(missing: Requirements) -> Extraction:
        raise LookupError(missing)

    seen = SeenReference(reals, detector, Cache(), reals.name)
    try:
        extraction = seen.extraction(Requirements(features=reals.num_images), absent)
    except LookupError:
        return None
    return extraction.features(reals.num_images).double()
