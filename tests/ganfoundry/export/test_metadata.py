"""Metadata of an ONNX file: shape, range and meaning of each input."""

import json

import pytest

import ganfoundry as gf
from ganfoundry.export.metadata import metadata_of
from ganfoundry.export.options import OnnxSettings
from tests.support.narrow import make_snapshot
from training.interface import ImageSpec

onnx = pytest.importorskip('onnx')
SPEC = ImageSpec(resolution=16, channels=6, label_dim=2, num_images=8)


def model_of(inputs, output):
    def value(name, shape):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    return onnx.helper.make_model(
        onnx.helper.make_graph([], 'graph', [value(*item) for item in inputs.items()], [value(*output)])
    )


def test_labels_have_the_names_of_their_classes_and_unknown_is_said(tmp_path):
    path = make_snapshot(tmp_path / 'net.safetensors', 'squeeze', SPEC, ('cats', '<b>'))
    network = gf.load(path, device='cpu')
    inputs = {'z': ['batch', 16], 'c': ['batch', 2], 'noise_b8_conv0': ['batch', 1, 8, 8]}
    settings = OnnxSettings(psi=0.5, noise='input')
    metadata = metadata_of(network, 'mapping', model_of(inputs, ('ws', ['batch', 5, 20])), settings)
    found = json.loads(metadata['inputs'])
    assert {name: entry['shape'] for name, entry in found.items()} == inputs
    assert (found['c']['classes'], found['c']['range']) == (['cats', '<b>'], [0, 1])
    assert found['noise_b8_conv0']['meaning'] == 'independent numbers of the standard normal distribution'
    assert json.loads(metadata['output'])['shape'] == ['batch', 5, 20]
    plain = {name: metadata[name] for name in ('part', 'network', 'nimg', 'license', 'psi', 'noise', 'recalibrated')}
    assert plain == {
        'part': 'mapping',
        'network': 'net.safetensors',
        'nimg': '1000',
        'license': 'unknown',
        'psi': '0.5',
        'noise': 'input',
        'recalibrated': 'false',
    }
