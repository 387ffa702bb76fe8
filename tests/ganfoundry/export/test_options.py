"""The options of export.py: which fit together."""

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.commands import export
from ganfoundry.export.formats import FORMATS
from ganfoundry.export.options import ExportOptions, OnnxSettings


def test_the_command_offers_every_format():
    assert tuple(FORMATS) == export.FORMATS


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'format': 'onnx', 'psi': 'half'}, '--psi=half: expected input, or a finite number such as 0.7'),
        ({'format': 'onnx', 'psi': 'nan'}, '--psi=nan: expected input'),
        ({'format': 'onnx', 'onnx': True}, '--onnx: --format=onnx has no use for it; drop it'),
        ({'format': 'onnx', 'push': 'a/b'}, '--push: --format=onnx has no use for it; drop it'),
        ({'format': 'onnx', 'license': 'My own\nlicense'}, 'expected an identifier such as apache-2.0'),
        ({'format': 'onnx', 'recalibrate': True}, '--recalibrate measures at one truncation; add --psi'),
        ({'format': 'safetensors', 'psi': '0.7'}, '--psi: --format=safetensors has no use for it; drop it'),
        ({'format': 'safetensors', 'noise': 'none'}, '--noise: --format=safetensors has no use for it; drop it'),
        ({'format': 'hub', 'psi': '0', 'opset': 20}, '--opset, --psi: concerns the ONNX files of the folder; add --on'),
    ],
)
def test_options_that_do_not_fit_the_format_are_refused(options, message):
    with pytest.raises(ConfigError) as error:
        ExportOptions(network='', out='', **options).check()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ('options', 'settings'),
    [
        ({}, OnnxSettings()),
        ({'psi': 'input'}, OnnxSettings()),
        ({'psi': '0', 'noise': 'none', 'opset': 20}, OnnxSettings(psi=0, noise='none', opset=20)),
        (
            {'psi': '0.7', 'recalibrate': True, 'license': 'mit'},
            OnnxSettings(psi=0.7, recalibrated=True, license='mit'),
        ),
    ],
)
def test_options_of_onnx_files_become_settings(options, settings):
    chosen = ExportOptions(network='', out='', format='onnx', **options)
    chosen.check()
    assert chosen.onnx_settings() == settings
