"""The base class of detectors: chunks, the record of the weights, and weights in place of the published ones."""

import pytest
import torch
from torch import nn

from metrics.detectors.interface import Features
from metrics.detectors.network_detector import NetworkDetector
from metrics.detectors.weights import Weights, digest_of


class Means(NetworkDetector):
    """A linear function of the means of the channels."""

    name, preprocessing, feature_dim, num_classes = 'means', 'v1', 4, 0

    @classmethod
    def published_weights(cls):
        tensors = {'weight': torch.arange(12.0).view(4, 3), 'bias': torch.ones(4)}
        return Weights(tensors, digest_of(tensors), 'means.pth')

    @classmethod
    def make_network(cls):
        return nn.Linear(3, 4)

    def prepare(self, images):
        return images.to(self.device).float().mean(dim=(2, 3))

    def features(self, x):
        return Features(self.network(x), None)


class Classes(Means):
    """The same with probabilities."""

    num_classes = 4

    def features(self, x):
        logits = self.network(x)
        return Features(logits, logits.softmax(dim=1))


IMAGES = torch.randint(0, 256, (19, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_chunks_keep_the_order_and_all_images():
    detector = Classes()
    found = detector(IMAGES)  # two chunks and a rest
    expected = nn.functional.linear(IMAGES.float().mean(dim=(2, 3)), torch.arange(12.0).view(4, 3), torch.ones(4))
    assert torch.allclose(found.pooled, expected)
    assert torch.allclose(found.probabilities, expected.softmax(dim=1))
    assert Means()(IMAGES).probabilities is None


def test_the_record_names_the_weights_in_use():
    published, random = Means(), Means.random()
    assert published.edition == 'means.pth'
    assert published.digest == digest_of(published.network.state_dict())
    assert random.edition == 'random'
    assert random.digest == digest_of(random.network.state_dict()) != published.digest
    assert torch.equal(Means.random()(IMAGES).pooled, random(IMAGES).pooled)


def test_the_network_is_for_inference_and_takes_exactly_its_weights():
    network = Means().network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(RuntimeError, match='Missing key'):
        Means(weights=Weights({'weight': torch.ones(4, 3)}, '', ''))
