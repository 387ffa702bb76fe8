"""Facts of a data set, and the protocols that networks and parts satisfy."""

import torch

from torch_utils.stats import Collector
from training.augment.config import AugmentConfig
from training.augment.controller import Controller
from training.interface import Exchanged, FeatureNetwork, ImageSpec, Stateful


def test_sizes_follow_from_base_and_resolution():
    spec = ImageSpec(resolution=64, channels=3, label_dim=0, num_images=1, base=(4, 6))
    assert (spec.height, spec.width, spec.pixels) == (64, 96, 64 * 96)
    assert [spec.size_at(resolution) for resolution in (4, 8, 32)] == [(4, 6), (8, 12), (32, 48)]
    odd = ImageSpec(resolution=8, channels=1, label_dim=0, num_images=1, base=(5, 7))
    assert odd.size_at(2) == (3, 4)  # half a pixel counts as one


def test_protocols_are_recognized_by_their_methods():
    controller = Controller(AugmentConfig(kind='ada'), 4, torch.device('cpu'))
    assert isinstance(controller, Stateful)
    assert isinstance(controller, Exchanged)
    assert isinstance(Collector(), Exchanged)
    assert not isinstance(torch.nn.Identity(), FeatureNetwork)
    assert not isinstance(torch.nn.Identity(), Exchanged)
