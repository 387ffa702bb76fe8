"""Base class of the detectors that run a PyTorch network: weights, chunks, and one arithmetic.

Letters: N batch, C image channels, H and W image height and width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import nn

from metrics.detectors.interface import Features
from metrics.detectors.random_weights import random_weights
from metrics.detectors.weights import Weights, WeightsSource, digest_of, load_weights, locate
from metrics.streams.images import as_images
from torch_utils.devices import deterministic_float32

# Images per pass of the network. On a CPU the widest activation should stay near the caches: for EfficientNet-lite0,
# [N, 96, 112, 112] float32, chunks of 8 are 1.4 to 2 times as fast as chunks of 64.
CPU_CHUNK, GPU_CHUNK = 8, 128


class LoadedNetwork(NamedTuple):
    """A network for inference, with the record of its weights."""

    network: nn.Module
    digest: str  # sha256 of the weights
    edition: str  # file that the weights came in; '' if the digest is that of the file


class NetworkDetector(ABC):
    """A detector (see `metrics.detectors.interface.Detector`) over a network, always in IEEE float32.

    A subclass defines the network (`make_network`), its input (`prepare`) and its output (`features`), and names the
    source of its weights or overrides `published_weights` and `available`.

    Args:
        device: Device of the network and of the features.
        weights: Used in place of the published ones.
    """

    name: ClassVar[str]
    preprocessing: ClassVar[str]
    feature_dim: ClassVar[int]
    num_classes: ClassVar[int]
    source: ClassVar[WeightsSource]

    def __init__(self, device: torch.device | str = 'cpu', *, weights: Weights | None = None) -> None:
        self.device = torch.device(device)
        self.chunk_size = CPU_CHUNK if self.device.type == 'cpu' else GPU_CHUNK
        loaded = self.load() if weights is None else self.with_weights(weights)
        self.digest, self.edition = loaded.digest, loaded.edition
        self.network = loaded.network.to(self.device)

    @classmethod
    def available(cls) -> bool:
        """Returns whether the weights can be read without a download. Their digest is checked when they are read."""
        return locate(cls.source) is not None

    @classmethod
    def published_weights(cls) -> Weights:
        """Returns the weights that belong to the name. Raises UserError if they are absent."""
        return load_weights(cls.source)

    @classmethod
    def load(cls) -> LoadedNetwork:
        """Returns the network with its published weights, on the CPU."""
        return cls.with_weights(cls.published_weights())

    @classmethod
    def with_weights(cls, weights: Weights) -> LoadedNetwork:
        """Returns the network with the given weights, channels last, on the CPU."""
        network = cls.ready(load_network(cls.make_network, weights))
        channels_last: Any = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return LoadedNetwork(channels_last, weights.digest, weights.edition)

    @classmethod
    def random(cls, device: torch.device | str = 'cpu') -> Self:
        """Returns the detector with random weights, which are the same on every machine, for tests and timing."""
        tensors = random_weights(cls.make_network)
        return cls(device, weights=Weights(tensors, digest_of(tensors), 'random'))

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> Features:
        """Returns the features of images uint8 [N, C, H, W], on the detector's device, bitwise repeatable."""
        with deterministic_float32():
            parts = [self.features(self.prepare(chunk)) for chunk in as_images(images).split(self.chunk_size)]
        pooled = torch.cat([part.pooled for part in parts])
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return Features(pooled, torch.cat(probabilities) if probabilities else None)

    @classmethod
    @abstractmethod
    def make_network(cls) -> nn.Module:
        """Returns the bare network, with any weights."""

    @staticmethod
    def ready(network: Any) -> nn.Module:
        """Returns the network, which has its weights, in the form in which it runs."""
        module: nn.Module = network
        return module

    @abstractmethod
    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Converts images uint8 [N, C, H, W] to the input of the network, float32, on the detector's device."""

    @abstractmethod
    def features(self, x: torch.Tensor) -> Features:
        """Returns the features of a prepared chunk."""


def load_network(make_network: Callable[[], nn.Module], weights: Weights) -> Any:
    """Returns a network for inference whose parameters are exactly the given weights."""
    with torch.device('meta'):
        network = make_network()
    network.load_state_dict(weights.tensors, strict=True, assign=True)
    return network.eval().requires_grad_(False)
