"""TorchScript files read as data: every tensor, none of the code."""

import warnings
import zipfile

import pytest
import torch
from torch import nn

from dnnlib.errors import UserError
from metrics.detectors.torchscript import read_torchscript


class Net(nn.Module):
    """A bit of everything that a module may hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.register_buffer('small', torch.rand(2, 3).half())
        self.register_buffer('turned', torch.rand(3, 5).T)
        self.numbers = [1, 2]

    def forward(self, x):
        return self.rest(self.norm(self.conv(x)).mean(dim=(2, 3))) * self.numbers[0]


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(params=['script', 'trace'])
def path(request, network, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = (
            torch.jit.script(network) if request.param == 'script' else torch.jit.trace(network, torch.rand(1, 3, 8, 8))
        )
        made.save(tmp_path / 'net.pt')
    return tmp_path / 'net.pt'


def rewritten(path, change, name='changed.pt', method=zipfile.ZIP_STORED):
    """Copies a zip; `change` maps the name and bytes of every file to new bytes, or to None to omit it."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(path.with_name(name), 'w', method) as target:
        for info in source.infolist():
            if (data := change(info.filename, source.read(info))) is not None:
                target.writestr(info.filename, data)
    return path.with_name(name)


def test_every_tensor_is_read_by_its_name(path, network):
    found = read_torchscript(path)
    assert found.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        assert found[name].is_contiguous()


def test_the_code_is_not_even_looked_at(path, network):
    broken = rewritten(path, lambda name, data: b'this is no code' if '/code/' in name else data)
    assert read_torchscript(broken).keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda name, data: None if name.endswith('data/0') else data, 'data/0'),
        (lambda name, data: data[:-4] if '/data/' in name else data, 'reaches beyond|buffer'),
        (lambda name, data: data[: len(data) // 2] if name.endswith('data.pkl') else data, 'cut short'),
        (lambda name, data: data.replace(b'FloatStorage', b'EvilyStorage'), 'unknown kind of storage'),
        (lambda name, data: b'big' if name.endswith('byteorder') else data, 'little-endian'),
        (lambda name, data: None if name.endswith('data.pkl') else data, 'one data.pkl'),
    ],
)
def test_damage_is_an_error_that_names_the_file(path, change, message):
    broken = rewritten(path, change)
    with pytest.raises(UserError, match=message) as caught:
        read_torchscript(broken)
    assert 'changed.pt' in str(caught.value)


def test_a_call_of_any_other_function_makes_nothing(path):
    foreign = rewritten(path, lambda name, data: data.replace(b'torch._utils\n', b'posix\n'))
    assert read_torchscript(foreign) == {}


def test_compressed_storages_are_refused(path):
    with pytest.raises(UserError, match='compressed'):
        read_torchscript(rewritten(path, lambda name, data: data, method=zipfile.ZIP_DEFLATED))


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / 'x.pt').write_bytes(b'hello')
    with pytest.raises(UserError, match=r'x\.pt'):
        read_torchscript(tmp_path / 'x.pt')
