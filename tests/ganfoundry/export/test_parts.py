"""The parts of a generator compute what it computes."""

import pytest
import torch

from ganfoundry.export.parts import LatentPart, MappingPart, SynthesisPart, example_inputs, has_w, maps_of
from tests.support.exports import network_of
from tests.support.networks import tiny_G


@pytest.fixture
def G():
    G = tiny_G().eval().requires_grad_(False)
    torch.nn.init.normal_(G.mapping.w_avg)
    return G


@pytest.mark.parametrize('psi', [0.0, 0.7, 1.0])
def test_mapping_and_synthesis_are_the_generator_at_every_truncation(G, psi):
    inputs = example_inputs(G, None, 'const', n=3) | {'psi': torch.tensor(psi)}
    expected = G(inputs['z'], None, truncation_psi=psi, noise_mode='const')
    for mapping in (MappingPart(G, None), MappingPart(G, psi)):
        ws = mapping(inputs)
        assert torch.allclose(ws, G.mapping(inputs['z'], None, truncation_psi=psi), atol=1e-6)
        assert torch.allclose(SynthesisPart(G, 'const')({'ws': ws}), expected, atol=1e-5)


def test_noise_is_stored_absent_or_given(G):
    for layer in G.modules():
        if hasattr(layer, 'noise_strength'):
            torch.nn.init.ones_(layer.noise_strength)
    ws = G.mapping(torch.ones([2, G.z_dim]), None)
    zeros = {
        name: torch.zeros([2, 1, *G.synthesis.get_buffer(buffer).shape])
        for name, buffer in maps_of(G.synthesis).items()
    }
    absent = G.synthesis(ws, noise_mode='none')
    assert torch.equal(SynthesisPart(G, 'none')({'ws': ws}), absent)
    assert torch.equal(SynthesisPart(G, 'const')({'ws': ws}), G.synthesis(ws, noise_mode='const'))
    assert torch.allclose(SynthesisPart(G, 'input')({'ws': ws, **zeros}), absent, atol=1e-6)
    assert not torch.allclose(G.synthesis(ws, noise_mode='const'), absent, atol=1e-3)


def test_a_generator_without_w_is_one_part_and_psi_scales_z(tmp_path):
    G = network_of(tmp_path / 'network.safetensors', 'dcgan', label_dim=3).module
    inputs = example_inputs(G, None, 'const', n=2)
    assert list(inputs) == ['z', 'c', 'psi']
    assert not has_w(G)
    expected = G(inputs['z'], inputs['c'], truncation_psi=0.5)
    assert torch.equal(LatentPart(G, None, 'const')(inputs | {'psi': torch.tensor(0.5)}), expected)
    assert torch.equal(LatentPart(G, 0.5, 'none')(inputs), expected)
    assert maps_of(G) == {}


def test_example_inputs_are_a_function_of_the_seed_and_the_same_for_any_psi(G):
    first, again, other = (example_inputs(G, 1.0, 'input', n=2, seed=seed) for seed in (3, 3, 4))
    assert list(first) == ['z', *maps_of(G.synthesis)]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first['z'], other['z'])
    assert torch.equal(example_inputs(G, None, 'const', n=2, seed=3)['z'], first['z'])
