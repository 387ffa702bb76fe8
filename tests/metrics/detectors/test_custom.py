"""A network of the user's own: its input as declared, its file run only where that is allowed."""

import importlib.util
import sys
import warnings

import pytest
import torch
from torch import nn

from dnnlib.errors import ConfigError, UserError
from metrics.detectors import custom, table
from metrics.detectors.custom import InputSpec, declare
from metrics.detectors.table import DETECTORS, available, get_detector, provenance, set_path
from metrics.spec import parse_metric

IMAGES = (torch.arange(2 * 3 * 12 * 10).view(2, 3, 12, 10) * 7 % 256).to(torch.uint8)


class Net(nn.Module):
    """Means of the channels, and the first pixel of the first."""

    def forward(self, x):
        return torch.cat([x.mean(dim=(2, 3)), x[:, 0, 0, :1]], dim=1)


class Wrong(nn.Module):
    """An image for features."""

    def forward(self, x):
        return x * 2


def save(path, module, size):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # TorchScript is deprecated, and what users have
        torch.jit.trace(module, torch.zeros(2, 3, size, size)).save(path)
    return path


@pytest.fixture
def registry(monkeypatch):
    """A table of detectors that forgets what the test declares."""
    before = dict(DETECTORS)
    monkeypatch.setattr(table, '_declared', set())
    monkeypatch.setattr(custom, '_allowed', False)
    monkeypatch.delenv(custom.ALLOW_VARIABLE, raising=False)
    yield
    DETECTORS.clear()
    DETECTORS.update(before)


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / 'net.pt', Net(), 8)


def load(name):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return get_detector(name)


def test_a_program_runs_only_where_that_is_allowed(registry, path, monkeypatch):
    set_path(f'mine={path},size=8')
    assert not available('mine')
    with pytest.raises(UserError, match=custom.ALLOW_VARIABLE):
        get_detector('mine')
    monkeypatch.setenv(custom.ALLOW_VARIABLE, '1')
    assert available('mine')
    assert load('mine')(IMAGES).pooled.shape == (2, 4)


def test_a_program_that_somebody_else_can_replace_is_not_run(registry, path):
    custom.allow_torchscript()
    path.parent.chmod(0o777)
    set_path(f'mine={path},size=8')
    with pytest.raises(UserError, match=r'may be written by others .*; copy it to a folder of your own'):
        get_detector('mine')


def test_a_declared_network_is_a_detector_with_metrics_of_its_name(registry, path, tmp_path):
    custom.allow_torchscript()
    set_path(f'mine={path},size=8,range=-1-1,mean=.1/.2/.3,std=.5')
    detector = load('mine')
    found = detector(IMAGES)
    x = torch.nn.functional.interpolate(IMAGES.float(), size=(8, 8), mode='bilinear', antialias=True)
    x = (x / 127.5 - 1 - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / 0.5
    assert torch.allclose(found.pooled, Net()(x), atol=1e-5)
    assert (detector.name, detector.feature_dim, detector.num_classes, found.probabilities) == ('mine', 4, 0, None)
    assert parse_metric('fd_mine2k_full').detector == 'mine'

    first = provenance(detector)
    set_path(f'mine={path},size=8')
    assert provenance(load('mine'))['preprocessing'] != first['preprocessing']
    set_path(f'mine={save(tmp_path / "other.pt", nn.Sequential(Net(), nn.Linear(4, 2)), 8)},size=8')
    assert provenance(load('mine'))['digest'] != first['digest']


def test_many_images_go_through_in_chunks(registry, path):
    custom.allow_torchscript()
    set_path(f'mine={path},size=8')
    detector = load('mine')
    many = IMAGES.repeat(20, 1, 1, 1)
    assert torch.allclose(detector(many).pooled, detector(IMAGES).pooled.repeat(20, 1), atol=1e-6)


@pytest.mark.parametrize('resize', ['bilinear', 'bicubic', 'tensorflow'])
def test_inputs_reach_the_declared_range_and_no_further(resize):
    images = torch.tensor([0, 255], dtype=torch.uint8).repeat(12 * 5).view(1, 1, 12, 10)
    for name, (low, high) in custom._RANGES.items():
        x = InputSpec(size=16, range=name, resize=resize).apply(images)
        assert x.shape == (1, 3, 16, 16)
        assert low <= x.min() < x.max() <= high
        assert x.max() - x.min() > 0.8 * (high - low)


def test_what_returns_no_features_is_refused(registry, tmp_path):
    custom.allow_torchscript()
    set_path(f'mine={save(tmp_path / "wrong.pt", Wrong(), 8)},size=8')
    with pytest.raises(UserError, match=r'wrong\.pt: expected features \[2, D\].*\[2, 3, 8, 8\]'):
        load('mine')


def test_an_input_that_the_network_fails_on_is_said_at_once(registry, tmp_path):
    custom.allow_torchscript()
    set_path(f'mine={save(tmp_path / "net.pt", nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8)},size=9')
    with pytest.raises(UserError, match=r'net\.pt: fails on images \[2, 3, 9, 9\]'):
        load('mine')


def test_a_damaged_file_is_refused(registry, tmp_path):
    custom.allow_torchscript()
    (tmp_path / 'bad.pt').write_bytes(b'nothing')
    set_path(f'mine={tmp_path / "bad.pt"},size=8')
    with pytest.raises(UserError, match=r'bad\.pt'):
        load('mine')


@pytest.mark.parametrize(
    ('rest', 'message'),
    [
        (',range=0-1', 'size is missing'),
        (',size=0', '1 to 4096'),
        (',size=big', '1 to 4096'),
        (',size=8,range=0-2', '0-1 or -1-1 or 0-255'),
        (',size=8,mean=1/2', 'three with slashes'),
        (',size=8,mean=x', 'float'),
        (',size=8,std=0', 'std is positive'),
        (',size=8,mean=nan', 'one number'),
        (',size=8,size=9', "got 'size'"),
        (',size=8,colour=bgr', "got 'colour'"),
        (',size=8,range', "got 'range'"),
        (',size=8,resize=nearest', 'bilinear or bicubic or tensorflow'),
    ],
)
def test_an_input_that_cannot_work_is_refused_by_its_key(registry, path, rest, message):
    with pytest.raises(ConfigError, match=message) as caught:
        declare('mine', f'{path}{rest}')
    assert '--detector-path=mine=' in str(caught.value)


def test_names_and_files_that_cannot_work_are_refused(registry, path, tmp_path):
    for name, file, message in (
        ('My_Net', path, 'lower-case letters'),
        ('mine', tmp_path / 'net.pth', r'\.pt.*\.onnx'),
        ('mine', tmp_path / 'none.onnx', 'no such file'),
    ):
        with pytest.raises(ConfigError, match=message):
            declare(name, f'{file},size=8')


# --- ONNX --------------------------------------------------------------------


def test_a_missing_runtime_is_named(registry, tmp_path, monkeypatch):
    (tmp_path / 'net.onnx').write_bytes(b'')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    set_path(f'mine={tmp_path / "net.onnx"},size=8')
    with pytest.raises(UserError, match='pip install onnxruntime'):
        get_detector('mine')


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ('onnxruntime', 'onnx')),
    reason='needs onnxruntime and onnx: make setup-all',
)
def test_an_onnx_file_gives_its_features(registry, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    mean = helper.make_node('GlobalAveragePool', ['x'], ['pooled'])
    flat = helper.make_node('Flatten', ['pooled'], ['features'])
    x = helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 3, 8, 8])
    y = helper.make_tensor_value_info('features', TensorProto.FLOAT, ['n', 3])
    graph = helper.make_graph([mean, flat], 'net', [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    onnx.save(model, str(tmp_path / 'net.onnx'))
    set_path(f'mine={tmp_path / "net.onnx"},size=8')
    assert available('mine')
    found = get_detector('mine')(IMAGES)
    assert torch.allclose(found.pooled, InputSpec(size=8).apply(IMAGES).mean(dim=(2, 3)), atol=1e-6)
    (tmp_path / 'net.onnx').write_bytes(b'nothing')
    with pytest.raises(UserError, match=r'net\.onnx'):
        get_detector('mine')
