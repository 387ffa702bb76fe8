"""ONNX files: what they hold, equal bytes, and that a file which does not pass is not written."""

import json
import os

import numpy as np
import pytest
import torch

from dnnlib.errors import ConfigError, ExportError
from ganfoundry.export import agreement, onnx_file
from ganfoundry.export.onnx_file import check_files, export_onnx, export_parts
from ganfoundry.export.options import OnnxSettings
from tests.conftest import ROOT
from tests.support.exports import network_of
from tests.support.pages import blocks_of

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def styled(tmp_path_factory):
    """A StyleGAN2 network of 16-bit images, and its files in 'exported'."""
    folder = tmp_path_factory.mktemp('styled')
    network = network_of(folder / 'network.safetensors', 'stylegan2', bits=16)
    (folder / 'exported').mkdir()
    export_parts(network, folder / 'exported', OnnxSettings(license='cc0-1.0'))
    return network


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """A network without W."""
    return network_of(tmp_path_factory.mktemp('plain') / 'network.safetensors', 'lsgan')


def run(path, **inputs):
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in inputs.items()})[0]


def test_the_python_of_the_page_runs_on_exported_files(styled, monkeypatch, capsys):
    monkeypatch.chdir(styled.path.parent)
    code = [code for language, code in blocks_of('docs/export.md') if language == 'py' and 'weights/' not in code]
    names = {}
    exec('\n'.join(code[:1]), names)
    expected = styled(torch.from_numpy(names['z']), truncation_psi=0.7, noise_mode='const')
    assert np.abs(names['img'] - expected.numpy()).max() < 1e-4
    assert names['pixels'].shape == (4, 8, 8, 3)
    exec('\n'.join(code[1:]), names)
    assert names['img'].shape == (4, 3, 8, 8)
    assert capsys.readouterr().out == f"['batch', 16] stylegan2 {styled.sha256} cc0-1.0\n"


def test_metadata_say_what_inputs_and_output_mean(styled):
    model = onnx.load(styled.path.parent / 'exported' / 'generator.onnx')
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    inputs, output = json.loads(metadata['inputs']), json.loads(metadata['output'])
    assert {name: (entry['shape'], entry['range']) for name, entry in inputs.items()} == {
        'z': (['batch', 16], None),
        'psi': ([], [0, 1]),
    }
    assert output['pixels'] == 'clip(img * 32767.5 + 32768, 0, 65535), truncated to integers'
    assert (metadata['license'], metadata['psi'], metadata['noise']) == ('cc0-1.0', 'input', 'const')


def test_no_path_of_this_machine_is_in_a_file(styled):
    for path in (styled.path.parent / 'exported').iterdir():
        data = path.read_bytes()
        assert str(ROOT).encode() not in data
        assert os.path.dirname(torch.__file__).encode() not in data


def test_two_exports_have_equal_bytes_and_the_parts_are_left_out(plain, tmp_path):
    reports = [export_onnx(plain, tmp_path / name) for name in ('a.onnx', 'b.onnx')]
    assert reports[0].sha256 == reports[1].sha256
    assert (tmp_path / 'a.onnx').read_bytes() == (tmp_path / 'b.onnx').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.onnx', 'b.onnx']


def test_a_fixed_truncation_is_no_input(plain, tmp_path):
    report = export_onnx(plain, tmp_path / 'a.onnx', psi=0.5)
    assert report.inputs == ('z',)
    z = plain.latents([1, 2])
    assert np.abs(run(tmp_path / 'a.onnx', z=z) - plain(z, truncation_psi=0.5).numpy()).max() < 1e-4


def test_a_file_that_draws_other_images_is_not_written_and_the_numbers_are_named(plain, tmp_path, monkeypatch):
    right = agreement.Runtime.__call__
    monkeypatch.setattr(agreement.Runtime, '__call__', lambda self, inputs: right(self, inputs) + 0.01)
    with pytest.raises(
        ExportError, match=r'a\.onnx: largest difference 1\.0e-02 \(allowed 0\.0001\), \d+ of \d+ bytes'
    ):
        export_onnx(plain, tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []


def test_operators_of_other_domains_are_refused(plain, tmp_path):
    node = onnx.helper.make_node('Epilogue', ['x'], ['y'], domain='ganfoundry')
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in 'xy']
    graph = onnx.helper.make_graph([node], 'graph', values[:1], values[1:])
    opsets = [onnx.helper.make_opsetid('', 18), onnx.helper.make_opsetid('ganfoundry', 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / 'a.onnx')
    with pytest.raises(ExportError, match=r'a\.onnx: operators that are no standard ones: ganfoundry\.Epilogue'):
        check_files(plain, {tmp_path / 'a.onnx': tmp_path / 'a.onnx'}, OnnxSettings())


def test_a_network_that_cannot_be_traced_is_named_with_the_reason(plain, tmp_path, monkeypatch):
    def forward(self, z, c, **kwargs):
        raise RuntimeError('depends on the weather\nand more')

    monkeypatch.setattr(type(plain.module), 'forward', forward)
    with pytest.raises(
        ExportError, match=r'network\.safetensors: cannot be traced for ONNX .*depends on the weather\)'
    ):
        export_onnx(plain, tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_do_not_fit_the_network_are_refused(plain, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match='--noise=input: lsgan has no noise in it; drop --noise'):
        export_onnx(plain, tmp_path / 'a.onnx', noise='input')
    monkeypatch.setattr(plain, 'precision', 'bf16')
    with pytest.raises(ConfigError, match="load it with device='cpu', precision='fp32' for its export"):
        export_onnx(plain, tmp_path / 'a.onnx')
    monkeypatch.undo()
    monkeypatch.setattr(onnx_file, 'MAX_BYTES', 1000)
    with pytest.raises(ConfigError, match='an ONNX file holds at most 2 GB; use --format=safetensors'):
        export_onnx(plain, tmp_path / 'a.onnx')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'onnxscript' else name)
    with pytest.raises(ConfigError, match=r'an ONNX file needs onnxscript: pip install "ganfoundry\[export\]"'):
        export_onnx(plain, tmp_path / 'a.onnx')
    assert list(tmp_path.iterdir()) == []
