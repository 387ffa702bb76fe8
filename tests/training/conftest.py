"""Shared by the tests of training: the embedded data set at the smallest resolution."""

import pytest

from training.data.dataset import DataConfig, ImageDataset


@pytest.fixture(scope='session')
def dataset() -> ImageDataset:
    """The embedded images at 8x8, without labels."""
    return ImageDataset(DataConfig(resolution=8))
