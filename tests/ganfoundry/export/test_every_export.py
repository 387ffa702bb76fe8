"""ONNX files of every generator class: they draw what PyTorch draws. `make test-export` takes every `--cfg`.

The networks differ in labels, channels, bits, shape and noise, in turn. StyleGAN2 is that of `test_onnx_file.py`, too.
"""

import json
import os

import pytest

from ganfoundry.export.agreement import TOLERANCE
from ganfoundry.export.onnx_file import export_parts
from ganfoundry.export.options import OnnxSettings
from ganfoundry.export.parts import has_w, maps_of
from tests.support.exports import network_of, one_per_generator
from tests.support.recipes import own_recipes

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

pytestmark = pytest.mark.slow

STYLEGAN2 = 'auto'
EVERY = os.environ.get('GANFOUNDRY_EXPORT') == 'all'
NAMES = own_recipes() if EVERY else [name for name in one_per_generator() if name != STYLEGAN2]
# Everything that generators consist of; all of them are operators of ONNX itself, in opset 18.
OPERATORS = {
    'Add', 'AveragePool', 'BatchNormalization', 'Clip', 'Concat', 'ConstantOfShape', 'Conv', 'ConvTranspose', 'Div',
    'Expand', 'Gather', 'Gemm', 'LeakyRelu', 'Less', 'MatMul', 'Mul', 'Neg', 'Pad', 'Pow', 'Reciprocal', 'ReduceL2',
    'ReduceMean', 'ReduceSum', 'Relu', 'Reshape', 'Resize', 'Shape', 'Sigmoid', 'Sin', 'Slice', 'Softmax', 'Split',
    'Sqrt', 'Squeeze', 'Sub', 'Tanh', 'Tile', 'Transpose', 'Unsqueeze', 'Where',
}  # fmt: skip


@pytest.mark.parametrize(('index', 'name'), list(enumerate(NAMES)), ids=NAMES)
def test_the_onnx_files_draw_what_pytorch_draws(index, name, tmp_path):
    facts = {'label_dim': 3 * (index % 2), 'channels': (3, 6, 1, 4)[index % 4], 'bits': 8 if index % 3 else 16}
    facts['base'] = (4, 6) if index % 5 == 2 else (4, 4)
    network = network_of(tmp_path / 'network.safetensors', name, **facts)
    maps = list(maps_of(network.module)) if index % 2 else []  # half of them with noise as inputs, if they have any
    reports = export_parts(network, tmp_path, OnnxSettings(noise='input' if maps else 'const'))
    parts = ['generator', 'mapping', 'synthesis'] if has_w(network.module) else ['generator']
    assert [report.path.name for report in reports] == [f'{part}.onnx' for part in parts]
    for report in reports:
        print(f'{name}: {report}')
        assert report.agreement.largest <= TOLERANCE
        assert set(report.operators) <= OPERATORS
        assert {entry.domain for entry in onnx.load(report.path).opset_import} == {''}
    generator = reports[0]
    given = ('z', 'c', 'psi') if facts['label_dim'] else ('z', 'psi')
    assert generator.inputs[: len(given)] == given
    assert len(generator.inputs) == len(given) + len(maps)
    model = onnx.load(generator.path)
    assert model.opset_import[0].version == 18
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata['network_sha256'] == network.sha256
    assert json.loads(metadata['record'])['config']['cfg'] == name
    spec = network.spec
    assert json.loads(metadata['output'])['shape'] == ['batch', spec.channels, spec.height, spec.width]
