"""The folder for the hub, written without a network, and its upload to a hub on loopback."""

import json
import socket

import numpy as np
import PIL.Image
import pytest

import ganfoundry as gf
from dnnlib.errors import ConfigError, ExportError
from ganfoundry.commands import generate
from ganfoundry.export.hub import check_hub, push, sheet_of, write_hub
from ganfoundry.export.options import ExportOptions
from tests.support.exports import network_of
from tests.support.hub_server import hub_server
from training.interface import ImageSpec


def options(**changes):
    return ExportOptions(network='', format='hub', out='', **{'license': 'cc0-1.0', **changes})


@pytest.fixture
def offline(monkeypatch):
    """Makes every connection fail."""

    def refuse(*args):
        raise AssertionError('a connection')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)


@pytest.mark.usefixtures('offline')
@pytest.mark.parametrize(
    ('name', 'facts'),
    [('stylegan2', {'label_dim': 3}), ('lsgan', {'channels': 6, 'bits': 16})],
)
def test_the_folder_is_written_without_a_network(tmp_path, name, facts):
    network = network_of(tmp_path / 'network.safetensors', name, **facts)
    (folder := tmp_path / 'card').mkdir()
    lines = write_hub(network, folder, options())
    assert sorted(path.name for path in folder.iterdir()) == [
        'README.md',
        'config.json',
        'model.safetensors',
        'samples.png',
    ]
    assert lines[-1] == 'README.md: 0 measured numbers, license cc0-1.0'
    assert json.loads((folder / 'config.json').read_text())['facts']['channels'] == network.spec.channels
    size = network.spec.resolution
    with PIL.Image.open(folder / 'samples.png') as sheet:
        assert sheet.size == (8 * size, 4 * size)
    label = {'class_idx': 2} if network.spec.label_dim else {}
    assert np.array_equal(gf.load(folder, device='cpu').images([2], **label), network.images([2], **label))


def test_the_samples_can_be_drawn_again(tmp_path):
    path = tmp_path / 'network.safetensors'
    network = network_of(path, 'dcgan', label_dim=3)
    network = gf.load(path, device='cpu')  # as it is stored
    (folder := tmp_path / 'card').mkdir()
    write_hub(network, folder, options())
    args = [f'--network={path}', f'--from={folder / "samples.png"}', f'--outdir={tmp_path / "again"}', '--device=cpu']
    generate.main.main(args, standalone_mode=False)
    (again,) = (tmp_path / 'again').iterdir()
    assert again.read_bytes() == (folder / 'samples.png').read_bytes()


@pytest.mark.parametrize(
    ('size', 'sheet'), [((32, 32), (8, 4)), ((256, 256), (8, 4)), ((1024, 1024), (2, 1)), ((4096, 4096), (1, 1))]
)
def test_large_images_make_smaller_sheets(size, sheet):
    base = (size[0] * 4 // 4096, size[1] * 4 // 4096) if min(size) >= 4096 else (4, 4)
    spec = ImageSpec(resolution=size[0] * 4 // base[0], channels=3, label_dim=0, num_images=1, base=base)
    assert sheet_of(spec) == sheet


def test_onnx_files_are_an_option(tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    network = network_of(tmp_path / 'network.safetensors', 'lsgan')
    (folder := tmp_path / 'card').mkdir()
    write_hub(network, folder, options(onnx=True, psi='0.7'))
    assert (folder / 'generator.onnx').exists()
    assert "onnxruntime.InferenceSession('generator.onnx')" in (folder / 'README.md').read_text()


@pytest.mark.filterwarnings('ignore:Use .content:DeprecationWarning')  # between huggingface_hub and its HTTP library
def test_an_upload_is_one_commit_of_every_file(tmp_path, monkeypatch):
    constants = pytest.importorskip('huggingface_hub.constants')
    monkeypatch.setattr(constants, 'HF_HUB_DISABLE_XET', True)  # a protocol of its own for large files
    network = network_of(tmp_path / 'network.safetensors', 'dcgan')
    (folder := tmp_path / 'card').mkdir()
    write_hub(network, folder, options())
    with hub_server() as hub:
        assert push(folder, 'jane/net', endpoint=hub.address, token='hf_secret') == f'{hub.address}/jane/net'
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.tokens == {'Bearer hf_secret'}


def test_a_failed_upload_leaves_the_folder_and_names_the_way_out(tmp_path):
    pytest.importorskip('huggingface_hub')
    (tmp_path / 'README.md').write_text('text')
    with hub_server() as hub:
        hub.refuses = 403
        with pytest.raises(ExportError) as error:
            push(tmp_path, 'jane/net', endpoint=hub.address, token='hf_secret')
    message = str(error.value)
    assert message.startswith(f'--push=jane/net: {tmp_path} is complete, and its upload failed (')
    assert message.endswith(f'log in with `hf auth login`, then upload it with `hf upload jane/net {tmp_path}`')
    assert '\n' not in message
    assert 'hf_secret' not in message
    assert (tmp_path / 'README.md').exists()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'license': None}, '--license is needed: the hub shows it'),
        ({'push': 'net'}, '--push=net: expected USER/NAME'),
        ({'push': 'a/b/c'}, '--push=a/b/c: expected USER/NAME'),
        ({'push': 'jane/a--b'}, '--push=jane/a--b: expected USER/NAME'),
        ({'push': 'https://hub.example/jane/net'}, 'expected USER/NAME'),
        ({'push': '../net'}, 'expected USER/NAME'),
    ],
)
def test_options_that_do_not_suffice_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_hub(options(**changes))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'--push needs huggingface_hub: pip install "ganfoundry\[hub\]"'):
        check_hub(options(push='jane/net'))
    with pytest.raises(ConfigError, match=r'--onnx needs onnx and onnxscript and onnxruntime: pip install'):
        check_hub(options(onnx=True))
    check_hub(options())
