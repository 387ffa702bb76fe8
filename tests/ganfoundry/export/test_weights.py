"""model.safetensors: G_ema alone, under official names where there are some, and a network again."""

import json

import numpy as np
import pytest

import ganfoundry as gf
from ganfoundry.export.options import ExportOptions
from ganfoundry.export.weights import write_safetensors
from tests.support.exports import network_of
from torch_utils.checkpoint import load_tensors
from training.networks.config import StyleGAN2GeneratorConfig
from training.networks.stylegan2 import StyleGAN2Generator
from training.run.transfer import load_source


def export(network, folder):
    (line,) = write_safetensors(network, folder, ExportOptions(network='', format='safetensors', out=''))
    return (*load_tensors(folder / 'model.safetensors'), line)


def test_an_official_network_has_official_names_and_the_arguments_of_its_class(golden, tmp_path):
    network = gf.load(golden / 'official_layout_uncond.pkl', device='cpu')
    tensors, header, line = export(network, tmp_path)
    assert line.endswith('tensors under the names of stylegan2-ada-pytorch')
    assert header['names'] == 'stylegan2-ada-pytorch'
    assert (header['license'], header['network_sha256']) == ('unknown', network.sha256)
    kwargs = json.loads(header['G_kwargs'])
    assert (kwargs['z_dim'], kwargs['c_dim'], kwargs['img_resolution']) == (network.module.z_dim, 0, 32)
    assert {'mapping.fc0.weight', 'mapping.w_avg', 'synthesis.b4.const', 'synthesis.b8.conv0.noise_strength'} < set(
        tensors
    )
    assert not any(name.startswith(('G_ema.', 'D.')) for name in tensors)
    blocks = {name: kwargs['synthesis_kwargs'][name] for name in ('channel_base', 'channel_max', 'architecture')}
    mapping = {'map_depth': kwargs['mapping_kwargs']['num_layers']}
    widths = {name: kwargs[name] for name in ('z_dim', 'w_dim')}
    G = StyleGAN2Generator(StyleGAN2GeneratorConfig(**widths, **mapping, **blocks), network.spec)
    G.load_state_dict(tensors)  # every name, no other


@pytest.mark.parametrize(
    ('name', 'facts'),
    [('squeeze', {}), ('stylegan2', {'base': (4, 6)}), ('r3gan', {'label_dim': 3}), ('igan', {})],
)
def test_other_networks_keep_their_own_names(tmp_path, name, facts):
    network = network_of(tmp_path / 'network.safetensors', name, **facts)
    tensors, header, line = export(network, tmp_path)
    assert line.endswith('tensors under the names of ganfoundry')
    assert header['names'] == 'ganfoundry'
    assert 'G_kwargs' not in header
    assert tensors.keys() == network.module.state_dict().keys()


@pytest.mark.parametrize('facts', [{'label_dim': 2}, {'channels': 6, 'bits': 16}], ids=['labels', 'channels'])
def test_the_file_and_its_folder_are_the_network_again(tmp_path, facts):
    network = network_of(tmp_path / 'network.safetensors', 'squeeze', **facts)
    export(network, tmp_path)
    draw = {'psi': 0.5, **({'class_idx': 1} if 'label_dim' in facts else {})}
    expected = network.images([1, 2], **draw)
    for place in (tmp_path / 'model.safetensors', tmp_path):
        again = gf.load(place, device='cpu')
        assert np.array_equal(again.images([1, 2], **draw), expected)
        assert again.snapshot.nimg == network.snapshot.nimg


def test_a_run_may_start_from_it_with_a_new_discriminator(tmp_path):
    network = network_of(tmp_path / 'network.safetensors', 'squeeze')
    export(network, tmp_path)
    source = load_source(str(tmp_path / 'model.safetensors'))
    assert source.tensors.keys() == {f'G_ema.{name}' for name in network.module.state_dict()}


def test_two_exports_have_equal_bytes(tmp_path):
    network = network_of(tmp_path / 'network.safetensors', 'dcgan')
    found = set()
    for number in range(4):
        (folder := tmp_path / str(number)).mkdir()
        export(network, folder)
        found.add((folder / 'model.safetensors').read_bytes())
    assert len(found) == 1
