"""View: the strength of each kind of augmentation, and the very tensor without one."""

from __future__ import annotations

import pytest
import torch

from training.augment.config import AugmentConfig
from training.augment.controller import Controller
from training.augment.view import View

CPU = torch.device('cpu')


@pytest.mark.parametrize(
    ('fields', 'p'),
    [({'kind': 'noaug'}, 0.0), ({'kind': 'fixed', 'p': 0.3}, 0.3), ({'kind': 'diffaug'}, 1.0)],
)
def test_the_strength_is_that_of_the_kind(fields: dict, p: float) -> None:
    view = View(AugmentConfig(**fields), None)
    assert (view.p, view.at_cap) == (p, False)


def test_an_adaptive_strength_is_the_controllers() -> None:
    cfg = AugmentConfig(kind='ada', p=0.85)
    controller = Controller(cfg, 4, CPU)
    view = View(cfg, controller)
    assert (view.p, view.at_cap) == (0.85, True)
    controller.p = 0.1
    assert (view.p, view.at_cap) == (0.1, False)


@pytest.mark.parametrize('fields', [{'kind': 'noaug'}, {'kind': 'fixed', 'p': 0.0}, {'kind': 'apa'}])
def test_without_strength_an_image_is_the_very_tensor_and_nothing_is_drawn(fields: dict) -> None:
    cfg = AugmentConfig(**fields)
    img, state = torch.zeros(2, 3, 8, 8), torch.random.get_rng_state()
    assert View(cfg, Controller(cfg, 4, CPU) if cfg.adapts else None)(img) is img
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize('fields', [{'kind': 'fixed', 'p': 1.0, 'pipe': 'color'}, {'kind': 'diffaug'}])
def test_an_augmentation_changes_images_and_passes_gradients(fields: dict) -> None:
    torch.manual_seed(0)
    img = torch.rand(4, 3, 16, 16, requires_grad=True)
    seen = View(AugmentConfig(**fields), None)(img)
    assert seen.shape == img.shape
    assert not torch.equal(seen, img)
    seen.sum().backward()
    assert img.grad.abs().sum() > 0
