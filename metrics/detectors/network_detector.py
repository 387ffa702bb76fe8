"""What the detectors over a network of our own share: weights, chunks, one arithmetic.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import nn

from metrics.detectors.determinism import deterministic_float32
from metrics.detectors.random_weights import random_weights
from metrics.detectors.table import Features
from metrics.detectors.weights import Source, Weights, digest_of, load_weights, locate
from metrics.streams.images import as_images

# Images that go through the network at a time: on a CPU the widest activations should stay near the caches.
CPU_CHUNK, GPU_CHUNK = 8, 128


class NetworkDetector(ABC):
    """A detector, see `metrics.detectors.table.Detector`, over a network with published weights. Always IEEE float32.

    source: where the weights come from. edition: which file they came in. weights: in place of the published ones.
    """

    name: ClassVar[str]
    preprocessing: ClassVar[str]
    feature_dim: ClassVar[int]
    num_classes: ClassVar[int]
    source: ClassVar[Source]

    def __init__(self, device: torch.device | str = 'cpu', *, weights: Weights | None = None) -> None:
        self.device = torch.device(device)
        self.chunk_size = CPU_CHUNK if self.device.type == 'cpu' else GPU_CHUNK
        weights = weights or self.published_weights()
        self.digest, self.edition = weights.digest, weights.edition
        network = self.ready(load_network(self.make_network, weights))
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def available(cls) -> bool:
        """Whether the weights can be had without the network. Their digest is checked when they are read."""
        return locate(cls.source) is not None

    @classmethod
    def published_weights(cls) -> Weights:
        """The weights that the name stands for. UserError where they cannot be had."""
        return load_weights(cls.source)

    @classmethod
    def random(cls, device: torch.device | str = 'cpu') -> Self:
        """The detector with weights that mean nothing, for tests and for timing."""
        tensors = random_weights(cls.make_network)
        return cls(device, weights=Weights(tensors, digest_of(tensors), 'random'))

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Features:
        """Grey or RGB images uint8 [N, C, H, W] -> Features on the detector's device; bitwise repeatable."""
        with deterministic_float32():
            parts = [self.features(self.prepare(chunk)) for chunk in as_images(images).split(self.chunk_size)]
        pooled = torch.cat([part.pooled for part in parts])
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return Features(pooled, torch.cat(probabilities) if probabilities else None)

    @staticmethod
    @abstractmethod
    def make_network() -> nn.Module:
        """The bare network, with any weights."""

    @staticmethod
    def ready(network: Any) -> nn.Module:
        """The network with its weights, as it is to run."""
        return network

    @abstractmethod
    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, C, H, W] -> the network's input, float32, channels last, on the detector's device."""

    @abstractmethod
    def features(self, x: torch.Tensor) -> Features:
        """A prepared chunk -> its features."""


def load_network(make_network: Callable[[], nn.Module], weights: Weights) -> Any:
    """A network whose parameters are the weights, none lacking and none left, for inference."""
    with torch.device('meta'):
        network = make_network()
    network.load_state_dict(weights.tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)
