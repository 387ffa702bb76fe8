"""Features that terms read: taps, resolutions, and networks that have none."""

import pytest
import torch

from dnnlib.errors import ConfigError
from tests.support.guided import ON, small
from training.build import build_networks
from training.config import GuidanceConfig
from training.data.dataset import DataConfig, ImageDataset
from training.objective.features import FeatureTap, check_features


@pytest.fixture(scope='module')
def dataset():
    return ImageDataset(DataConfig(resolution=32))


def test_taps_are_closed_again(dataset):
    _, D = build_networks(small(dataset, ggdr=ON), dataset.spec)
    tap = FeatureTap(D)
    with tap.open() as features:
        D(torch.zeros(2, 3, 32, 32), None)
    before = dict(features)
    D(torch.ones(2, 3, 32, 32), None)
    assert features == before
    assert all(not block._forward_hooks for block in tap.blocks.values())


@pytest.mark.parametrize('field', ['ggdr', 'glead'])
def test_a_resolution_without_features_is_refused(dataset, field):
    with pytest.raises(ConfigError, match=rf'{field}\.resolution=64: features are at 4, 8, 16'):
        build_networks(small(dataset, **{field: GuidanceConfig(weight=1, resolution=64)}), dataset.spec)


def test_a_network_that_shows_no_features_is_refused(dataset):
    G, D = build_networks(small(dataset), dataset.spec)
    with pytest.raises(ConfigError, match=r'ggdr: this generator shows no features.*--set ggdr\.weight=0'):
        check_features('ggdr', torch.nn.Identity(), D)
    with pytest.raises(ConfigError, match='ggdr: this discriminator shows no features'):
        check_features('ggdr', G, torch.nn.Identity())
    check_features('ggdr', G, D)
