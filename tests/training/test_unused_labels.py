"""Warnings about networks of a conditional run that do not use the labels."""

from dataclasses import dataclass, replace

import pytest
import torch

from tests.support.recipes import own_recipes
from tests.support.steps import tiny
from training.interface import ImageSpec
from training.registry import RECIPES, register_discriminator, register_generator
from training.unused_labels import unused_labels

SPEC = ImageSpec(resolution=16, channels=3, label_dim=3, num_images=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Config:
    """Options of the networks below: how the labels are used."""

    how: str = 'ignored'


def _shift(how, c):
    """Returns a number that depends on the labels in one of several ways."""
    if how == 'ignored':
        return torch.zeros([len(c), 1])
    if how == 'index':
        return torch.arange(3.0, device=c.device)[c.argmax(dim=1)][:, None]
    if how == 'value':  # a forward pass that depends on values, which the meta device does not have
        return c * 0 + float(c[0, 0].item())
    return c @ torch.ones([3, 1], device=c.device) * c[:, :1]


@register_generator('labels-test', config=_Config)
class _Generator(torch.nn.Module):
    def __init__(self, config, spec):
        super().__init__()
        self.z_dim, self.c_dim, self.how = 4, spec.label_dim, config.how
        self.img_resolution, self.img_channels = spec.resolution, spec.channels
        self.size = [spec.channels, spec.height, spec.width]
        self.layer = torch.nn.Linear(4, spec.channels * spec.pixels)

    def forward(self, z, c, *, truncation_psi=1, noise_mode='random'):
        x = self.layer(z) + _shift(self.how, c)[:, :1]
        return x.reshape(-1, *self.size) + torch.randn([len(z), *self.size], device=z.device)


@register_discriminator('labels-test', config=_Config)
class _Discriminator(torch.nn.Module):
    def __init__(self, config, spec):
        super().__init__()
        self.how = config.how
        self.layer = torch.nn.Linear(spec.channels * spec.pixels, 1)

    def forward(self, img, c):
        return self.layer(img.flatten(1)) + _shift(self.how, c)[:, :1]


def _warnings(dataset, spec=SPEC, **networks):
    cfg = tiny(dataset)
    return unused_labels(replace(cfg, style_mixing_prob=0, pl=replace(cfg.pl, weight=0), **networks), spec)


def test_a_network_that_ignores_labels_is_named(dataset):
    (warning,) = _warnings(dataset, generator=_Config())
    assert warning.startswith('--cond=1: the generator of --cfg=auto does not use the labels')
    (warning,) = _warnings(dataset, discriminator=_Config())
    assert 'the discriminator' in warning
    assert len(_warnings(dataset, generator=_Config(), discriminator=_Config())) == 2
    assert _warnings(dataset, replace(SPEC, label_dim=0), generator=_Config()) == ()


@pytest.mark.parametrize('how', ['gradient', 'index', 'value'])
def test_every_use_of_the_labels_counts(dataset, how):
    assert _warnings(dataset, generator=_Config(how=how), discriminator=_Config(how=how)) == ()


def test_the_check_leaves_the_random_numbers_of_the_caller(dataset):
    before = torch.random.get_rng_state()
    _warnings(dataset, generator=_Config())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize('name', own_recipes())
def test_the_recipes_of_the_project_use_labels(name):
    recipe = RECIPES.get(name)
    size = max(recipe.min_resolution, 32)
    assert unused_labels(recipe.make(replace(SPEC, resolution=size), 1), replace(SPEC, resolution=size)) == ()
