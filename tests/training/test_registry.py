"""Registries of recipes and networks."""

import pytest

from training.networks.config import StyleGAN2GeneratorConfig
from training.registry import GENERATORS, RECIPES, architecture_of


def test_a_config_instance_leads_to_its_network():
    RECIPES.get('auto')  # registers it
    found = architecture_of(GENERATORS, StyleGAN2GeneratorConfig())
    assert found.name == 'stylegan2'
    assert found is GENERATORS.get('stylegan2')
    with pytest.raises(TypeError, match='int belongs to no registered generator'):
        architecture_of(GENERATORS, 3)
