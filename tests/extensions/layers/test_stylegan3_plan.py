"""The plan of every layer, the names and shapes of all tensors, and the parameter counts are the official ones."""

from __future__ import annotations

import json

import pytest
import torch

from extensions.layers.stylegan3_config import StyleGAN3Config
from extensions.layers.stylegan3_plan import LayerPlan, plan_layers
from extensions.stylegan3 import StyleGAN3Generator
from tests.support.stylegan3 import GOLDEN, config_of
from training.interface import ImageSpec

PLANS = json.loads((GOLDEN / 'stylegan3_plan.json').read_text())


def official(plan: LayerPlan) -> dict:
    """Returns the fields of a plan as the file names them."""
    return {
        'index': plan.index,
        'name': plan.name,
        'in_channels': plan.source.channels,
        'out_channels': plan.target.channels,
        'in_size': plan.source.size[0],
        'out_size': plan.target.size[1],
        'in_rate': plan.source.rate,
        'out_rate': plan.target.rate,
        'tmp_rate': plan.raised_rate,
        'in_cutoff': plan.source.cutoff,
        'out_cutoff': plan.target.cutoff,
        'in_half_width': plan.source.half_width,
        'out_half_width': plan.target.half_width,
        'up': plan.up,
        'down': plan.down,
        'up_taps': plan.up_taps,
        'down_taps': plan.down_taps,
        'radial': plan.radial,
        'padding': list(plan.padding),
        'conv_kernel': plan.kernel,
        'torgb': plan.is_torgb,
        'fp16': plan.lowered,
    }


@pytest.mark.parametrize('name', PLANS)
def test_every_number_of_every_layer_is_the_official_one(name: str) -> None:
    expected = PLANS[name]
    config, spec = config_of(expected['kwargs'])
    plans = plan_layers(config, spec)
    for plan, layer in zip(plans, expected['layers'], strict=True):
        mine = official(plan)
        assert mine == {key: layer[key] for key in mine}
    first = plans[0].source
    shape = {'channels': first.channels, 'size': first.size[0], 'rate': first.rate, 'bandwidth': first.cutoff}
    assert shape == expected['input']


@pytest.mark.parametrize('name', PLANS)
def test_tensors_have_the_official_names_shapes_and_numbers(name: str) -> None:
    expected = PLANS[name]
    with torch.device('meta'):
        G = StyleGAN3Generator(*config_of(expected['kwargs']))
    counts = expected['parameters']
    assert sum(p.numel() for p in G.parameters()) == counts['G']
    assert sum(p.numel() for p in G.mapping.parameters()) == counts['mapping']
    assert sum(p.numel() for p in G.synthesis.input.parameters()) == counts['input']
    assert sum(b.numel() for b in G.buffers()) == counts['G_buffers']
    assert G.num_ws == expected['num_ws']
    if 'G_state_dict' in expected:
        assert [(key, list(t.shape)) for key, t in G.state_dict().items()] == [*expected['G_state_dict'].items()]


def test_a_picture_that_is_not_square_has_the_rates_of_the_square_one() -> None:
    facts = {'resolution': 64, 'channels': 3, 'label_dim': 0, 'num_images': 1}
    square = plan_layers(StyleGAN3Config(), ImageSpec(**facts))
    wide = plan_layers(StyleGAN3Config(), ImageSpec(**facts, base=(4, 6)))
    for a, b in zip(square, wide, strict=True):
        assert (a.target.rate, a.target.cutoff, a.padding) == (b.target.rate, b.target.cutoff, b.padding)
        margin = a.target.size[0] - a.target.rate
        assert b.target.size == (a.target.size[0], a.target.rate * 3 // 2 + margin)
