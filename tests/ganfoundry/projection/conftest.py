"""The trained network of examples/networks, targets that it draws, and a quick distance."""

import pytest
import torch

import ganfoundry as gf
from ganfoundry.projection import starts
from ganfoundry.projection.perceptual import PixelDistance
from ganfoundry.projection.targets import Target
from tests.conftest import ROOT

NETWORK = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'
NO_LABEL = torch.zeros([1, 0])


@pytest.fixture(scope='session')
def peeps() -> gf.Network:
    """The trained network, 32x32."""
    return gf.load(NETWORK, device='cpu')


@pytest.fixture(scope='session')
def targets(peeps) -> list[Target]:
    """Images that the network draws."""
    images = peeps.images(range(1000, 1003)).transpose(0, 3, 1, 2)  # [N, C, H, W]
    return [Target(name=str(index), pixels=image.copy()) for index, image in enumerate(images)]


@pytest.fixture
def quick(monkeypatch) -> PixelDistance:
    """A distance without a network, and a start among 32 samples."""
    monkeypatch.setattr(starts, 'NUM_CANDIDATES', 32)
    return PixelDistance()
